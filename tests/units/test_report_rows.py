"""Which rows a report has, which settings they show, and what it says of odd folders; and the answer in words."""

from __future__ import annotations

import math
import re
from typing import Any

from report_records import DIGITS, diverged, failed, grid, realistic, record, rows_of, told

from harness.record import Record
from harness.report.build import build
from harness.trial import Trial


def test_settings_that_differ_are_columns_and_those_that_cannot_matter_a_dash() -> None:
    records, trials = realistic()
    rows = rows_of(records, trials)
    assert {row["bptt_length"] for row in rows if row["cell"] == "feedforward"} == {""}
    assert {row["bptt_length"] for row in rows if row["cell"] == "gru"} == {"16", "whole"}
    assert {row["clip_norm"] for row in rows} == {"none", "1.0"}
    assert "kernel_setting" not in rows[0] and "hidden_size" not in rows[0]
    page = told(records, trials)["md"]
    assert "| feedforward | – | none |" in page and "| lstm | whole | 1 |" in page and "| lstm | 16 | none |" in page  # noqa: RUF001
    assert "hidden size 64" in page.split("Held equal: ")[1].splitlines()[0]


def test_a_window_of_one_step_is_not_taken_for_a_setting_that_cannot_matter() -> None:
    trials = [Trial(task=DIGITS, cell={"name": "lstm"}, bptt_length=w, examples=100) for w in (1, 2)]
    assert {row["bptt_length"] for row in rows_of([record(t) for t in trials])} == {"1", "2"}


def test_cells_settings_and_any_other_setting_become_columns() -> None:
    one = {"task": DIGITS, "examples": 100}
    trials = [
        Trial(**one, cell={"name": "elman", "activation": "tanh"}, learning_rate=0.1),
        Trial(**one, cell={"name": "elman", "activation": "relu"}, learning_rate=0.1),
        Trial(**one, cell={"name": "lstm"}, learning_rate=0.01),
    ]
    found = {(r["cell"], r["cell.activation"], r["learning_rate"]) for r in rows_of([record(t) for t in trials])}
    assert found == {("elman", "tanh", "0.1"), ("elman", "relu", "0.1"), ("lstm", "", "0.01")}


def test_a_setting_that_is_null_for_one_and_set_for_another_is_named_where_it_is_set() -> None:
    one = {"task": DIGITS, "cell": {"name": "lstm"}, "examples": 100}
    trials = [Trial(**one), Trial(**one, clip_norm=1.0), Trial(**one, clip_value=0.5)]
    table = build("quick", "Which cell?", [record(t) for t in trials], trials).machines[0]
    assert {row.label for row in table.rows} == {
        "lstm · clip none",
        "lstm · clip 1",
        "lstm · clip none · clip value 0.5",
    }
    assert {row.variant.shown("clip_value") for row in table.rows} == {"none", "0.5"}
    assert "clip agc" not in table.held and table.held["BPTT"] == "whole"


def test_further_scores_of_a_task_stand_beside_its_own() -> None:
    trials = [Trial(task=DIGITS, cell={"name": "lstm"}, examples=100, seed=seed) for seed in range(3)]
    more = [{"also_names": ["skill"], "also_scores": [value]} for value in (-0.5, 0.25)]
    records = [*(record(t, **also) for t, also in zip(trials, more, strict=False)), diverged(trials[2])]
    others = [record(t) for t in grid(1, cells=("gru",))]
    texts, (row, *rest) = told([*records, *others], trials), rows_of([*records, *others], trials)
    assert (row["skill"], row["skill_low"], row["skill_high"]) == ("-0.5", "-inf", "0.25"), "the lost one is the worst"
    assert all("skill" not in other or other["skill"] == "" for other in rest)
    assert "| skill ↑ |" in texts["md"] and "-0.500 [diverged, 0.250]" in texts["md"]


def test_a_cell_that_is_not_installed_here_is_read_from_its_records() -> None:
    trials = [Trial(task=DIGITS, cell={"name": "theirs"}, examples=100, seed=s) for s in range(2)]
    none = {"gradient_lags": [], "gradient_by_lag": [], "verdict": "n/a", "gradient_horizon": math.nan}
    others = [record(t) for t in grid(1, cells=("lstm",))]
    rows = rows_of([*(record(t, **none) for t in trials), *others])
    assert [row["bptt_length"] for row in rows if row["cell"] == "theirs"] == [""]
    rows = rows_of([*(record(t) for t in trials), *others])
    assert [row["bptt_length"] for row in rows if row["cell"] == "theirs"] == ["whole"]


def test_two_tasks_of_one_name_are_told_apart_by_what_differs() -> None:
    trials = [Trial(task={"name": "adding", "length": n}, cell={"name": "gru"}, examples=100) for n in (50, 200)]
    assert {row["task"] for row in rows_of([record(t) for t in trials])} == {"adding, length 50", "adding, length 200"}


def test_nothing_stored_says_so_in_every_format() -> None:
    for text in told([], grid()).values():
        assert "0 of 54 trials stored: nothing to compare yet." in re.sub(r"\s+", " ", text)


def test_half_finished_says_so_and_counts_what_is_missing() -> None:
    records, trials = realistic()
    shown = told(records[:31], trials)
    for kind in ("md", "terminal"):
        assert "31 of 54 trials stored" in shown[kind] and "Unfinished" in shown[kind]
    rows = rows_of(records[:31], trials)
    assert sum(int(row["score_n"]) for row in rows) == 31
    assert [row["trials_missing"] for row in rows if row["score_n"] == "1"] == ["2"]
    assert "1/3 ok, 2 not stored" in shown["md"]
    assert "21 trials more belong to variants without any record here" in shown["md"]


def test_only_diverged_trials_rank_nothing_and_are_all_told() -> None:
    trials = grid(3, cells=("elman",))
    shown = told([diverged(t) for t in trials], trials)
    assert shown["md"].count("Nothing can be ranked.") == 2
    assert shown["md"].count("diverged at update 17 in layer layers.0.weight\\_hh at time step 3") in (0, len(trials))
    assert all(trial.id in shown["md"] and trial.id in shown["md"] for trial in trials)
    assert "best on the validation split is" not in shown["md"] + shown["terminal"]
    assert {row["score"] for row in rows_of([diverged(t) for t in trials], trials)} == {"-inf", "inf"}


def test_only_failed_trials_make_a_report() -> None:
    trials = grid(2, cells=("gru",))
    shown = told([failed(t) for t in trials], trials)
    assert "0/2 ok, 2 failed" in shown["md"] and "out of memory" in shown["md"]


def test_packed_rows_say_so_and_what_their_times_are() -> None:
    trials = grid(3, cells=("gru",))
    packed = told([record(t, kernel="batched loop, 12 trials", packed=12) for t in trials], trials)
    alone = told([record(t) for t in trials], trials)
    assert "are each trial's share" in packed["md"] and "trial's share" not in alone["md"]
    assert all("batched loop, 12 trials" in shown for shown in packed.values())


def test_machines_are_never_ranked_together() -> None:
    trials = grid(3, cells=("lstm", "gru"))
    here = [record(t) for t in trials[:20]]
    there = [record(t, fingerprint="other-8c-ffffffff", tokens_per_second=9e9) for t in trials[10:]]
    report_ = build("quick", "Which cell?", here + there, trials)
    assert [len(table.records) for table in report_.machines] == [20, 20]
    assert report_.stored == 30 and report_.expected == 30
    for table in report_.machines:
        assert {r.fingerprint for row in table.rows for r in row.records} == {table.fingerprint}
    shown = told(here + there, trials)
    for kind in ("md", "terminal"):
        assert "nothing is ranked across them" in re.sub(r"\s+", " ", shown[kind]), kind
        assert "other-8c-ffffffff" in shown[kind]
    for row in rows_of(here + there, trials):
        assert (float(row["tokens_per_second"]) == 9e9) == (row["fingerprint"] == "other-8c-ffffffff")


def test_trials_of_other_data_are_never_ranked_with_the_latest() -> None:
    """Of no seed, also of one that was not trained again. Another task of the name, and a control, have other data."""

    def trained(sha: str, day: int, *seeds: int, **changes: Any) -> list[Record]:
        trials = [
            Trial(**{"task": DIGITS, "cell": {"name": "gru"}, "examples": 100, "seed": s, **changes}) for s in seeds
        ]
        return [record(t, data_sha256=sha * 32, started=f"2026-12-{day:02}T00:00:00+00:00") for t in trials]

    old = [*trained("aa", 1, 0, 1, cell={"name": "lstm"}), *trained("aa", 1, 1)]
    new = trained("bb", 2, 0)
    own = [*trained("cc", 1, 0, task={**DIGITS, "steps": 8}), *trained("dd", 1, 0, shuffled_targets=True)]
    found = build("quick", "Which cell?", [*old, *new, *own], None)
    assert {r.trial_id for r in found.records} == {r.trial_id for r in [*new, *own]}
    assert len(found.left_out) == 1 and found.left_out[0].startswith("3 trials left out: trained on other data than")
    assert all(r.trial_id in found.left_out[0] for r in old)
    elsewhere = [r.replace(fingerprint="other-8c-1") for r in old]
    assert not build("quick", "Which cell?", [*elsewhere, *new, *own], None).left_out, "a table of its own"


def test_unlike_budgets_are_a_column_and_said() -> None:
    trials = [Trial(task=DIGITS, cell={"name": "gru"}, examples=n) for n in (100, 9_000)]
    words = "digits: rows were trained on 100 examples or 9,000 examples: of a difference between two such rows part is"
    assert words in told([record(t) for t in trials], trials)["md"]
    assert {row["examples"] for row in rows_of([record(t) for t in trials])} == {"100", "9000"}
    assert "rows were trained on" not in told([record(trials[0])], None)["md"]


def test_a_trial_stored_twice_counts_once_and_a_contradiction_not_at_all() -> None:
    trials = grid(3, cells=("lstm",))[:3]
    made = [record(t) for t in trials]
    again = made[0].replace(seconds=999.0, started="2026-12-01T00:00:00+00:00")
    assert rows_of([*made, again]) == rows_of(made)
    other = made[0].replace(score=0.123)
    (row,) = rows_of([*made, other])
    assert row["score_n"] == "2" and trials[0].id not in row["trial_ids"]
    assert "stored twice on one machine with unlike numbers" in told([*made, other], trials)["md"]


def test_trials_of_another_grid_are_left_out_and_counted() -> None:
    trials = grid(3, cells=("lstm",))
    old = record(Trial(task=DIGITS, cell={"name": "lstm"}, examples=7))
    shown = told([*map(record, trials), old], trials)
    assert "1 stored trial left out: of other settings than this benchmark asks for" in shown["md"]
    assert (
        old.trial_id not in str(rows_of([*map(record, trials), old], trials))
        and f"{len(trials)} of {len(trials)} trials" in shown["md"]
    )


def test_numbers_that_do_not_add_up_are_told_and_not_shown() -> None:
    trials = grid(3, cells=("lstm",))[:3]
    made = [record(t) for t in trials]
    odd = [made[0].replace(parameters=7, floor=0.5, git_commit="abc-dirty"), *made[1:]]
    (row,) = rows_of(odd)
    assert row["parameters"] == ""
    page = told(odd, trials)["md"]
    for words in ("unlike parameter counts", "unlike floors", "Trials of 2 commits", "differs from its commit"):
        assert words in page


def answer(scores: dict[str, list[float]], floor: float = 0.1) -> str:
    made = []
    for cell, values in scores.items():
        for seed, score in enumerate(values):
            trial = Trial(task=DIGITS, cell={"name": cell}, examples=100, seed=seed)
            lost = math.isnan(score)
            made.append(
                diverged(trial, floor=floor) if lost else record(trial, score=score, valid_score=score, floor=floor)
            )
    report_ = build("quick", "Which cell?", made, None)
    return str(report_.answers(report_.machines[0])[0])


def test_the_answer_names_the_best_and_what_three_seeds_can_say_of_the_others() -> None:
    said = answer({"lstm": [0.9, 0.92, 0.94], "gru": [0.91, 0.9, 0.89], "elman": [0.5, 0.6, 0.7]})
    assert "best on the validation split is lstm: median accuracy 0.920 [0.900, 0.940]" in said
    assert "No difference is significant: with 3 seeds the least possible p is 0.25." in said
    assert "Not behind on every seed: gru." in said
    assert "median of 3 seeds [min, max], covers the median with 75 %" in said
    assert "Every other variant is behind on every seed." in answer({"lstm": [0.9, 0.92], "gru": [0.5, 0.6]})


def test_from_six_seeds_on_the_answer_says_what_is_significant() -> None:
    best = [0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97]
    said = answer({"lstm": best, "gru": [b + 0.001 * (-1) ** i for i, b in enumerate(best)], "elman": [0.5] * 8})
    assert "Significantly better than elman." in said and "Not significantly different from it: " in said


def test_the_comparison_stands_in_every_format_and_corrects_over_all_pairs() -> None:
    trials = grid(8, cells=("lstm", "elman"))
    shown, lines = told([*map(record, trials)], trials), rows_of([*map(record, trials)], trials)
    assert "Against the best on digits:" in shown["md"] and "not significant" in shown["md"]
    digits = [line for line in lines if line["task"] == "digits"]
    assert digits[0]["p"] == "" and len(digits) == 8
    for line in digits[1:]:
        assert float(line["p_holm"]) >= min(1.0, float(line["p"]) * (28 - 6))
        assert float(line["difference_low"]) <= float(line["difference"]) <= float(line["difference_high"])


def test_one_seed_tells_nothing_apart() -> None:
    said = answer({"lstm": [0.9], "gru": [0.1]})
    assert "Nothing can be told apart" in said and said.endswith(" One seed: no interval.")


def test_a_lost_seed_makes_the_best_one_doubtful() -> None:
    said = answer({"lstm": [0.9, 0.92, math.nan], "gru": [0.5, 0.6, 0.7]})
    assert "lstm: median accuracy 0.900 [diverged, 0.920]" in said and "No difference is significant" in said
    assert "Not better than the floor, 0.100, with the whole interval: lstm." in said


def test_no_variant_above_the_floor_comes_first() -> None:
    said = answer({"lstm": [0.09, 0.2, 0.3], "gru": [0.05, 0.06, 0.08]})
    assert said.startswith("digits: no variant is better than the floor, 0.100, with its whole interval.")
