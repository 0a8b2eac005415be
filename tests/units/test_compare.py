"""The gate's decisions: by simulation against known truth, by scipy, and what each output says."""

from __future__ import annotations

import io
import json
import math
import time
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from report_records import DIGITS, grid, record
from rich.console import Console
from scipy import stats as scipy_stats

from harness.compare import against, folders, scores, timing, variants, written
from harness.compare.facts import changed, unlike
from harness.compare.names import told_apart
from harness.compare.result import Comparison, Line, time_line


def noisy(rng: np.random.Generator, true: float, pairs: int) -> list[float]:
    """Ratios as a busy machine makes them: 8 % of noise on each side, and one measurement in eight up to twice as
    long."""
    sides = np.exp(0.08 * rng.normal(size=(2, pairs))) * np.where(rng.random((2, pairs)) < 0.125, 1 + rng.random(), 1)
    return (true * sides[0] / sides[1]).tolist()


def share(true: float, verdict: str, pairs: int = 30, comparisons: int = 9, runs: int = 400) -> float:
    rng = np.random.default_rng(0)
    return np.mean([timing.judge(noisy(rng, true, pairs), comparisons).verdict == verdict for _ in range(runs)])


def test_nothing_alarms_without_a_slowdown_and_a_slowdown_of_a_half_is_found():
    assert share(1.0, "slower") <= 0.01 and share(1.5, "slower") > 0.95 and share(1 / 1.5, "faster") > 0.95


def test_with_as_many_ratios_as_the_gate_takes_a_slowdown_of_30_percent_is_found():
    assert share(1.3, "slower", against.ENOUGH) >= 0.95 and share(1.0, "slower", against.ENOUGH) <= 0.01


def test_what_cannot_be_decided_is_inconclusive_not_fine():
    assert timing.judge([1.0] * 5, 9).verdict == "inconclusive"  # too few for any interval
    assert timing.judge([], 1).verdict == "inconclusive"
    wide = timing.judge([0.7, 1.5] * 15, 9)
    assert wide.verdict == "inconclusive" and wide.low < 1 < wide.high
    noise = Comparison("a", "b", [time_line("gru", wide)])
    assert noise.exit_code == 4 and f"[{wide.low:.3f}, {wide.high:.3f}]" in noise.lines[0].numbers, "with its spread"
    assert timing.judge([1.0, 1.02, 0.98] * 10, 9).verdict == "not significant"


@pytest.mark.parametrize("true", [0.8, 1.0, 1.2])
def test_the_interval_covers_the_ratio(true):
    rng = np.random.default_rng(1)
    found = [timing.judge(noisy(rng, true, 25)) for _ in range(400)]
    assert np.mean([f.low <= true <= f.high for f in found]) >= 0.99


def test_a_smaller_slowdown_is_found_by_who_asks_for_it():
    def verdicts(*ratios: float) -> list[str]:
        return [timing.judge([*ratios] * 20, 1, find).verdict for find in (0.05, 0.1, 0.2)]

    assert verdicts(1.065, 1.07, 1.075) == ["slower", "slower", "slower"]
    assert verdicts(1.035, 1.04, 1.045) == ["slower", "slower", "not significant"]
    assert verdicts(1.018, 1.02, 1.022) == ["slower", "not significant", "not significant"]


def test_what_is_slower_once_alone_is_no_alarm():
    def verdict(*ratios: float) -> str:
        return timing.confirmed([[ratio] * 40 for ratio in ratios], 3).verdict

    assert verdict(1.3) == "inconclusive" and verdict(1.3, 1.3) == "slower"
    assert verdict(1.3, 1.04) == "inconclusive" and verdict(1.3, 1.04, 1.3) == "slower"
    assert verdict(1.01) == verdict(1.3, 1.01, 1.01) == "not significant" and verdict(0.8) == "faster"


def test_the_lower_quartile_forgets_the_warm_up_and_the_disturbed():
    assert timing.quick([9, 9, 1, 2, 3, 100], 2) == 2 and math.isnan(timing.quick([1.0], 1))


@pytest.mark.parametrize("seed", range(5))
def test_p_is_mann_and_whitneys(seed):
    rng = np.random.default_rng(seed)
    base, new = rng.normal(size=6).tolist(), rng.normal(-0.5, 1, 5).tolist()
    wanted = scipy_stats.mannwhitneyu(new, base, alternative="less", method="exact").pvalue
    assert scores.worse_by_chance(base, new, True) == pytest.approx(wanted, rel=1e-12)
    assert scores.worse_by_chance([-v for v in base], [-v for v in new], False) == pytest.approx(wanted, rel=1e-12)


def test_scores_are_held_against_the_seeds_of_the_reference():
    base = [0.9, 0.91, 0.92, 0.93, 0.94]
    assert scores.judge(base, base, True).verdict == "equal"
    assert scores.judge(base, [0.5, 0.6, 0.7], True).verdict == "worse"
    assert scores.judge(base, [0.5, 0.6, 0.7], False).verdict == "not worse"
    assert scores.judge(base, [0.9, 0.95, -math.inf], True).verdict == "not worse"
    assert scores.judge([0.9], [0.8], True).verdict == "inconclusive"
    assert scores.judge(base, [-math.inf] * 3, True).verdict == "worse"


def test_no_difference_alarms_in_at_most_5_percent():
    rng = np.random.default_rng(2)
    found = [scores.judge(rng.normal(size=5).tolist(), rng.normal(size=5).tolist(), True) for _ in range(1000)]
    assert np.mean([f.verdict == "worse" for f in found]) <= 0.07


@pytest.mark.parametrize("count", [1, 3, 4, 11, 12, 13, 100])
def test_with_the_seeds_that_it_takes_one_of_many_variants_can_be_called_worse_and_with_one_less_none(count):
    seeds = scores.needed(count)
    base, new = [1.0 + i for i in range(seeds)], [-1.0 - i for i in range(seeds)]
    assert scores.judge(base, new, True, count).verdict == "worse"
    assert scores.judge(base, new, False, count).verdict == "not worse"
    assert scores.judge(base[1:], new[1:], True, count).verdict == "inconclusive"
    assert 1 / math.comb(2 * seeds, seeds) <= scores.ALPHA / count < 1 / math.comb(2 * seeds - 2, seeds - 1)


@pytest.mark.parametrize("seeds", [5, 8])
def test_of_many_equal_variants_one_or_more_alarm_in_at_most_5_percent_of_runs(seeds):
    rng, alarms, runs = np.random.default_rng(3), 0, 400
    for _ in range(runs):
        dealt = rng.normal(size=(11, 2, seeds)).tolist()
        alarms += any(scores.judge(*sides, True, 11).verdict == "worse" for sides in dealt)
    assert alarms <= 0.05 * runs + 3 * math.sqrt(0.05 * 0.95 * runs)


@pytest.mark.parametrize("higher", [True, False])
def test_what_is_not_worse_early_is_not_worse_in_the_end_and_worse_takes_every_seed(higher):
    rng, ended = np.random.default_rng(4), []
    for shift in (0.0, 0.5, 4.0):
        for _ in range(60):
            base, new = rng.normal(size=5).tolist(), rng.normal(-shift if higher else shift, 1, size=5).tolist()
            verdicts = [scores.judge(base[:n], new[:n], higher, 11, 5).verdict for n in range(1, 6)]
            ended.append(next(n for n, verdict in enumerate(verdicts, 1) if verdict != "inconclusive"))
            assert verdicts[ended[-1] - 1] == verdicts[-1] == scores.judge(base, new, higher, 11).verdict
            assert verdicts[-1] == "not worse" or ended[-1] == 5
    assert np.mean(ended[:60]) < 3, "a harmless change is through after a seed or two"


def test_variants_and_trials_of_one_name_are_told_apart_by_what_differs():
    rates = [{"learning_rate": rate, "task": {"name": "adding", "length": n}} for rate, n in ((0.1, 8), (0.01, 8))]
    assert told_apart(["a", "a"], rates) == ["a · learning rate 0.1", "a · learning rate 0.01"]
    assert told_apart(["a", "b"], rates) == ["a", "b"]
    longer = [*rates, {"learning_rate": 0.1, "task": {"name": "adding", "length": 9}}]
    assert len({*told_apart(["a"] * 3, longer)}) == 3 and "length 9" in told_apart(["a"] * 3, longer)[2]


def test_trials_of_two_learning_rates_are_two_variants_with_names_and_seeds_of_their_own():
    trials = [t.model_copy(update={"learning_rate": rate}) for t in grid(2)[:2] for rate in (0.1, 0.01)]
    found = variants.variants_of([trial.model_dump(mode="json") for trial in trials], {})
    assert [(each.numbers, each.seeds) for each in found] == [([0, 2], [0, 1]), ([1, 3], [0, 1])]
    assert [each.name.rpartition(" · ")[2] for each in found] == ["learning rate 0.1", "learning rate 0.01"]
    assert [line.verdict for line in variants.lines_of(found, None, {}, print)] == ["inconclusive"] * 4, "never run"


def test_a_trial_that_fails_on_one_side_is_no_pass_and_no_regression_and_is_named():
    trial = grid(1)[0].normalised()
    sides = [record(trial, status=status, reason=why).plain() for status, why in (("ok", ""), ("failed", "OSError: x"))]
    found = variants.variants_of([trial.model_dump(mode="json")], {0: (sides[0], sides[1])})
    (line,) = variants.lines_of(found, None, {}, print)
    assert line.verdict == "crashed" and "seed 0 failed in new alone: OSError: x" in line.numbers
    assert Comparison("a", "b", [line], accept_changes=True).exit_code == 5


def test_folders_share_alpha_among_the_variants_that_score_something_else():
    trials = [trial for trial in grid(3) if trial.task["name"] == "digits"]
    base = [timed(trial, score=0.9 + 0.01 * trial.seed) for trial in trials]
    kinds = {trial.model_copy(update={"seed": 0}).id for trial in trials}
    for few in (1, len(kinds)):
        worse = {*sorted(kinds)[:few]}
        new = [r.replace(score=0.1, weights_sha256="x") if t.model_copy(update={"seed": 0}).id in worse else r
               for t, r in zip(trials, base, strict=True)]  # fmt: skip
        found = [x.verdict for x in folders.compare(base, new, ("a", "b"), True).lines if x.kind == "score"]
        assert sorted(found) == ["equal"] * (len(kinds) - few) + (["worse"] if few == 1 else ["inconclusive"] * few)


def test_a_fact_that_an_older_revision_does_not_know_is_not_compared():
    trial = grid(1)[0].normalised()
    new = record(trial, flops_per_token=1e5).plain()
    base = {name: value for name, value in new.items() if name != "flops_per_token"}
    (found,) = variants.variants_of([trial.model_dump(mode="json")], {0: (base, new)})
    assert not found.changed


def test_facts_are_exact():
    one = record(grid(1)[0], train_loss=0.1, weights_sha256="ab")
    assert changed(one, one) == []
    found = changed(one, one.replace(train_loss=0.1 + 1e-16 * 2, parameters=one.parameters + 1))
    assert [fact.name for fact in found] == ["parameters", "train_loss"]
    assert changed(one.replace(train_loss=math.nan), one.replace(train_loss=math.nan)) == []
    (flops,) = changed(one.replace(flops_per_token=100.0), one.replace(flops_per_token=101.0))
    assert str(flops) == "FLOPs per token: 100.0 -> 101.0"
    assert changed(one, one.replace(flops_per_token=100.0)) == []  # an old record has none


def test_numbers_are_exact_on_a_cpu_alone_and_counts_everywhere():
    one = record(grid(1)[0], train_loss=0.1, weights_sha256="ab", device="NVIDIA H100")
    other = one.replace(train_loss=0.1 + 2e-16, weights_sha256="cd")
    assert changed(one, other) == [] and "trained on NVIDIA H100" in unlike(one, other)
    assert [fact.name for fact in changed(one, other.replace(updates=one.updates + 1))] == ["updates"]
    cpu = [each.replace(device="cpu") for each in (one, other)]
    assert [fact.name for fact in changed(*cpu)] == ["train_loss", "weights_sha256"] and not unlike(*cpu)


def timed(trial, **changes):
    return record(trial, update_seconds=[0.01] * 30, warmup_updates=3, **changes)


UNLIKE = {
    "cpu": ("Test CPU 9001", "cpu: base Test CPU 9000, new Test CPU 9001"),
    "usable_cores": (4, "usable_cores: base 2, new 4"),
    "python": ("3.12.1", "python: base 3.11, new 3.12"),
    "packages": ({"torch": "2.12.0", "ray": "2.60.0"}, "torch: base 2.13.0, new 2.12.0"),
}


@pytest.mark.parametrize("fact", UNLIKE)
def test_another_machine_is_refused_by_name(fact):
    value, told = UNLIKE[fact]
    base = [timed(trial) for trial in grid(2)]
    there = json.dumps(json.loads(base[0].machine) | {fact: value})
    found = folders.compare(base, [r.replace(fingerprint="other-8c-1", machine=there) for r in base], ("a", "b"))
    assert found.exit_code == 4 and not found.lines
    (note,) = found.notes
    assert note.startswith("no comparable baseline: base was measured on test-2c-01234567, new on other-8c-1; ")
    assert note.partition("; ")[2].partition(". To record one")[0] == told
    assert "harness run BENCHMARK --results FOLDER" in note and note in " ".join(written.plain(found).split())


@pytest.mark.parametrize(
    "setting", [{"threads": 2}, {"workers": 2}, {"task": {**DIGITS, "steps": 8, "shuffled": False}}]
)
def test_other_settings_are_named(setting):
    trials = grid(2, cells=("gru",))[:2]
    others = [trial.model_copy(update=setting) for trial in trials]
    found = folders.compare(map(timed, trials), map(timed, others), ("a", "b"))
    name = "task.steps: base 64, new 8" if "task" in setting else f"{next(iter(setting))}: base 1, new 2"
    assert found.exit_code == 4 and f"no comparable baseline: no trial stands in both; {name}. " in found.notes[0]


def test_no_baseline_at_all_says_so_and_how_to_record_one():
    found = folders.compare([], [timed(trial) for trial in grid(1)], ("a", "b"))
    assert found.exit_code == 4
    assert found.notes[0].startswith("no comparable baseline: no trial is stored in a. To record one, ")


def test_trials_of_one_folder_alone_are_counted():
    base = [timed(trial) for trial in grid(2)]
    assert "1 trials stand in one folder alone" in folders.compare(base, base[1:], ("a", "b")).notes[0]


def made() -> Comparison:
    slow = time_line("lstm <b>|`x`", timing.judge([1.5] * 30), 0.01)
    fine = time_line("gru", timing.judge([1.0] * 30), 0.02)
    open_ = time_line("elman", timing.judge([1.0] * 3), 0.03)
    return Comparison("a", "b", [slow, fine, open_, Line("gru", "facts", "equal", "equal to the last bit")], ["note"])


def test_junit_has_a_case_a_line_failed_or_skipped():
    suite = ET.fromstring(written.junit(made()))
    assert suite.attrib["tests"] == "4" and suite.attrib["failures"] == "1" and suite.attrib["skipped"] == "1"
    kinds = [[child.tag for child in case] for case in suite]
    assert kinds == [["failure"], ["system-out"], ["skipped"], ["system-out"]]


def test_where_nothing_was_compared_junit_says_why_in_a_case_that_is_skipped():
    suite = ET.fromstring(written.junit(Comparison("a", "b", [], ["no comparable baseline: <none>"])))
    ((case,),) = suite
    assert suite.attrib["tests"] == suite.attrib["skipped"] == "1" and suite.attrib["failures"] == "0"
    assert case.tag == "skipped" and "no comparable baseline: <none>" in case.attrib["message"]


def test_a_trial_of_too_few_updates_has_no_time_to_compare_and_no_number_of_it():
    line = against._line("gru", timing.confirmed([[]]), [[(0.1, 0.1)]])
    assert line.verdict == "inconclusive" and "no time to compare" in line.numbers and "nan" not in line.numbers
    assert "there are 1" in line.numbers


def test_what_has_too_few_updates_for_a_time_is_not_measured_again_and_the_others_are_judged_without_it():
    first = against.Measured({0: 0.1, 1: 0.1})
    first.seconds = {0: [[(1.0, 1.0)]], 1: [[(1.0, 1.0)] * 100]}
    said: list[str] = []
    lines = against._timed(None, ["short", "long"], first, 0.2, time.monotonic() + 60, said.append)
    assert [line.verdict for line in lines] == ["inconclusive", "not significant", "not significant"] and not said


def test_the_action_reads_names_units_and_values():
    points = json.loads(written.action_benchmark(made()))
    assert [point["value"] for point in points] == [150.0, 100.0, 100.0]
    assert all({"name", "unit", "value", "range", "extra"} == point.keys() for point in points)


def test_markdown_opens_no_tag_and_json_has_the_exit_code():
    page = written.markdown(made())
    assert "<b>" not in page and "1 of 4 comparisons are worse" in page and "* note" in page
    whole = json.loads(written.plain(made()))
    assert whole["exit_code"] == 3 and len(whole["lines"]) == 4


@pytest.mark.parametrize(
    "name", ["\x1b[31mred\nline", "a\0b", "]]></failure>", "<script>x</script>", "\ud800", "[red]x[/red]"]
)
def test_a_hostile_name_opens_nothing_in_any_format(name):
    found = Comparison("a", "b", [time_line(name, timing.judge([1.5] * 30), 0.01)], [f"a note of {name}"])
    ((case,),) = ET.fromstring(written.junit(found).encode())  # sound XML, one case with one child
    assert case.tag == "failure" and not case.text
    page, console = written.markdown(found), Console(file=io.StringIO(), width=200, force_terminal=True)
    written.show(console, found)
    assert "<script" not in page and "</" not in page and page.encode()
    assert "\x1b[31mred" not in page + console.file.getvalue() and "\0" not in page + console.file.getvalue()
    assert all(json.loads(form(found)) for form in (written.plain, written.action_benchmark))


def test_a_terminal_says_of_many_equal_variants_at_once_that_they_are_and_files_of_each():
    """Of 34 lines of `benchmarks/ci.yaml` 22 said that nothing had changed, before the times that were asked for."""
    equal = [Line(f"cell-{n}", kind, "equal", f"{kind} {n % 2}") for n in range(5) for kind in ("facts", "score")]
    found = Comparison(
        "a", "b", [*equal, Line("cell-9", "facts", "changed", "loss"), Line("all", "time", "slower", "")]
    )
    console = Console(file=io.StringIO(), width=200)
    written.show(console, found)
    shown = console.file.getvalue()
    assert shown.count("5 variants") == 2 and "cell-0" not in shown and "cell-9" in shown and "slower" in shown
    assert len(json.loads(written.plain(found))["lines"]) == 12 and "cell-0" in written.markdown(found)


def test_exit_codes():
    good, bad = Line("x", "time", "not significant", ""), Line("x", "time", "slower", "")
    open_, facts = Line("x", "time", "inconclusive", ""), Line("x", "facts", "changed", "")
    crash = Line("x", "facts", "crashed", "")
    cases = ([], [good], [good, open_], [open_, bad], [facts], [good, crash], [open_, crash], [crash, bad])
    assert [Comparison("a", "b", [*lines]).exit_code for lines in cases] == [4, 0, 4, 3, 3, 5, 5, 3]
    both = Comparison("a", "b", [crash, bad, good])
    assert both.sentence == "1 of 3 comparisons are worse, 1 could not be made: a trial crashed"
    assert Comparison("a", "b", [facts], accept_changes=True).exit_code == 0
