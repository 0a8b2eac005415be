"""Two folders: what is compared, what is named instead, and how the clocks of two separate runs are judged."""

from __future__ import annotations

import math
from collections import Counter
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from report_records import diverged, failed, grid, record

from harness.compare import clock, folders, written
from harness.errors import UserError
from harness.record import Record
from harness.trial import Trial

CELLS = ("elman", "gru", "lstm", "feedforward", "mgu", "irnn", "mingru", "peephole-lstm", "layernorm-lstm")
CI = [trial for trial in grid(1, CELLS) if trial.task["name"] == "adding"]
CI += [trial.model_copy(update={"hidden_size": 32}) for trial in CI[:2]]
"""One trial of each of eleven variants, as benchmarks/ci.yaml has."""


def timed(trial: Trial, rng: np.random.Generator, factor: float = 1.0, wavers: float = 0.01, **changes) -> Record:
    """Of 72 updates whose parts lie apart by so much; single updates up to five times as long, as everywhere."""
    parts = np.repeat(np.exp(wavers * rng.normal(size=4)), 18)
    seconds = 0.01 * factor * parts * np.where(rng.random(72) < 0.7, 1.0, 1 + 4 * rng.random(72))
    return record(trial, update_seconds=seconds.tolist(), warmup_updates=4, **changes)


def pair(factor: float = 1.0, wavers: float = 0.01, trials=CI, seed: int = 0, slow=lambda trial: True):
    rng = np.random.default_rng(seed)
    return folders.compare(
        [timed(trial, rng, wavers=wavers) for trial in trials],
        [timed(trial, rng, factor if slow(trial) else 1.0, wavers) for trial in trials],
        ("a", "b"),
    )


def times(found) -> dict[str, str]:
    return {line.name: line.verdict for line in found.lines if line.kind == "time"}


def test_one_trial_of_each_variant_decides_on_a_quiet_machine():
    for seed in range(20):
        same = pair(seed=seed)
        assert same.exit_code == 0 and set(times(same).values()) == {"not significant"} and len(times(same)) == 12
        slow = pair(1.2, seed=seed)
        assert slow.exit_code == 3 and [line.name for line in slow.failed] == [folders.ALL]
        assert set(times(slow).values()) == {"slower", "not significant"}  # beside the others none is
        quick = pair(1 / 1.2, seed=seed)
        assert quick.exit_code == 0 and times(quick)[folders.ALL] == "faster"
    assert any("not interleaved" in note for note in same.notes)


def test_a_machine_that_wavers_decides_nothing_and_says_what_to_do():
    codes = Counter()
    for seed in range(20):
        for factor in (1.0, 1.2):
            found = pair(factor, wavers=0.3, seed=seed)
            codes[found.exit_code] += 1
            (note,) = (note for note in found.notes if "not decided" in note)
            assert "harness compare --against REVISION BENCHMARK" in note and "% while these trials ran" in note
    assert codes == {4: 40}


def test_what_a_busy_machine_does_to_a_whole_run_is_inside_the_interval():
    """It moves a run by about as much as it moves a part of a trial; the exit code is never 3."""
    rng, codes = np.random.default_rng(3), Counter()
    for seed in range(200):
        codes[pair(math.exp(0.1 * rng.normal()), wavers=0.15, seed=seed).exit_code] += 1
    assert codes[3] <= 2


def test_one_trial_that_was_disturbed_throughout_is_named_and_no_alarm():
    def gru(trial: Trial) -> bool:
        return (trial.cell["name"], trial.hidden_size) == ("gru", 64)

    found = pair(1.8, slow=gru)
    assert found.exit_code == 4 and Counter(times(found).values()) == {"not significant": 11, "inconclusive": 1}
    (note,) = (note for note in found.notes if note.startswith("Longer"))
    assert "gru-adding" in note and "lstm" not in note
    (line,) = found.undecided
    assert line.timing is not None and line.timing.low == 0 and 1.7 < line.timing.ratio < 1.9
    assert "times as long as the other variants take [at most " in line.numbers
    assert any("gru" in note for note in pair(1.19, slow=gru).notes)  # as the machine makes of 1.2 at times


def test_a_variant_with_enough_trials_is_found_beside_the_others():
    trials = [trial.seeded(seed) for trial in CI[:4] for seed in range(14)]
    found = pair(1.3, trials=trials, slow=lambda trial: (trial.cell["name"], trial.hidden_size) == ("gru", 64))
    assert found.exit_code == 3 and [line.name for line in found.failed] == ["gru-adding-bfull-c1-h64"]
    assert pair(trials=trials).exit_code == 0


def test_a_slower_machine_is_not_taken_for_slower_code():
    """Both runs measured the machine's least step, in torch's own loop."""
    rng = np.random.default_rng(0)
    base = [timed(trial, rng, limit_step_seconds=1e-6) for trial in CI]
    new = [timed(trial, rng, 1.3, limit_step_seconds=1.3e-6) for trial in CI]
    assert times(folders.compare(base, new, ("a", "b")))[folders.ALL] == "inconclusive"
    new = [each.replace(limit_step_seconds=1e-6) for each in new]
    assert times(folders.compare(base, new, ("a", "b")))[folders.ALL] == "slower"


def test_a_trial_too_short_to_be_cut_says_so():
    base = [record(trial, update_seconds=[0.01] * 6, warmup_updates=3) for trial in CI[:2]]
    found = folders.compare(base, base, ("a", "b"))
    assert found.exit_code == 4 and {line.numbers for line in found.undecided} == {folders.TOO_SHORT}
    assert clock.parts(base[0], "wall") == [] and clock.judge({"x": []}) == clock.Clocks({})
    assert clock.parts(base[0].replace(update_seconds=[9, 9, 9, 4, 3, 2, 1, 5]), "wall") == [4, 3, 2, 1]


def test_changed_lost_and_accepted():
    rng = np.random.default_rng(0)
    base = [timed(trial, rng) for trial in CI]
    other = [each.replace(train_loss=0.5) for each in base]
    found = folders.compare(base, other, ("a", "b"))
    assert found.exit_code == 3 and {line.verdict for line in found.failed} == {"changed"}
    assert folders.compare(base, other, ("a", "b"), accept=True).exit_code == 0
    seeds = [timed(trial.seeded(seed), rng) for trial in CI for seed in range(5)]  # as the shared level takes
    lost = folders.compare(seeds, [diverged(Trial(**each.settings())) for each in seeds], ("a", "b"))
    assert lost.exit_code == 3 and {line.verdict for line in lost.failed} == {"changed", "worse"}


OUT = {"reason": "RuntimeError: can't allocate memory", "score": math.nan}


@pytest.mark.parametrize("where", ["on both sides", "in base alone", "in new alone"])
def test_a_crash_is_neither_a_pass_nor_a_regression(where):
    rng = np.random.default_rng(0)
    good, bad = [timed(trial, rng) for trial in CI], [failed(CI[0]).replace(**OUT)]
    base, new = good if "new" in where else bad + good[1:], good if "base" in where else bad + good[1:]
    found = folders.compare(base, new, ("a", "b"))
    (line,) = found.failed
    assert found.exit_code == 5 and line.name == "elman-adding-bfull-c1-h64"
    assert line.numbers == f"seed 0 failed {where}: RuntimeError: can't allocate memory"
    assert sum(each.name == line.name for each in found.lines) == 1  # it has neither score nor time
    assert found.sentence == "1 of 32 comparisons could not be made: a trial crashed"
    (case,) = (each for each in ET.fromstring(written.junit(found)) if each.find("failure") is not None)
    assert "can't allocate memory" in case[0].attrib["message"]
    assert folders.compare(base, [each.replace(updates=9) for each in new], ("a", "b")).exit_code == 3  # found besides


def test_seeds_that_did_not_crash_are_still_compared():
    rng = np.random.default_rng(0)
    base = [timed(CI[0].seeded(seed), rng) for seed in range(3)]
    found = folders.compare(base, [failed(CI[0].seeded(0)).replace(**OUT), *base[1:]], ("a", "b"))
    assert found.exit_code == 5 and [line.verdict for line in found.lines][:3] == ["crashed", "equal", "equal"]


def test_packed_and_unpacked_are_told_apart_and_their_scores_compared():
    rng = np.random.default_rng(0)
    base = [timed(CI[0].seeded(seed), rng, kernel="ATen loop") for seed in range(3)]
    new = [each.replace(packed=3, kernel="Python loop, 3 trials", train_loss=each.train_loss * (1 + 1e-7),
                        update_seconds=[x / 5 for x in each.update_seconds]) for each in base]  # fmt: skip
    found = folders.compare(base, new, ("a", "b"))
    facts, score, time = found.lines
    assert found.exit_code == 4 and (facts.verdict, score.verdict, time.verdict) == ("equal", "equal", "inconclusive")
    both = "base trained each trial alone (ATen loop), new 3 trials as one program (Python loop, 3 trials)"
    assert both in facts.numbers and both in time.numbers and "same `pack`" in time.numbers and not time.timing
    (changed,) = folders.compare(base, [each.replace(updates=1) for each in new], ("a", "b")).failed
    assert changed.verdict == "changed" and "updates: 393 -> 1" in changed.numbers and both in changed.numbers


def test_variants_of_one_label_are_named_by_what_differs():
    trials = [
        CI[0].model_copy(update={"learning_rate": rate, "layers": n}) for rate, n in ((0.1, 1), (0.01, 1), (0.1, 2))
    ]
    rng = np.random.default_rng(0)
    base = [timed(trial, rng) for trial in [*trials, CI[1]]]
    found = folders.compare(base, base, ("a", "b"))
    named = [*dict.fromkeys(line.name for line in found.lines)]
    assert len(named) == 5 and "gru-adding-bfull-c1-h64" in named
    assert sorted(name.partition(" · ")[2] for name in named if "elman" in name) == [
        "layers 1 · learning rate 0.01", "layers 1 · learning rate 0.1", "layers 2 · learning rate 0.1"
    ]  # fmt: skip


def test_a_base_that_is_a_file_is_a_mistake_and_one_that_is_not_there_is_none(tmp_path):
    (tmp_path / "ci.yaml").write_text("question: Which?")
    with pytest.raises(UserError, match=r"ci\.yaml: .*this is a file") as caught:
        folders.baseline(str(tmp_path / "ci.yaml"))
    assert "--against REVISION" in str(caught.value) and caught.value.exit_code == 2
    assert folders.baseline(str(tmp_path / "none")) == []
