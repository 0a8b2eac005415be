"""The table's numbers, each computed again from the records by other means."""

from __future__ import annotations

import math
import re
import statistics

import numpy as np
import pytest
from report_records import DIGITS, diverged, failed, grid, realistic, record, rows_of, told

from harness.metrics import METRICS
from harness.record import Record
from harness.trial import Trial


def of_row(row: dict, records: list[Record]) -> list[Record]:
    """The records of a CSV row, found by their ids."""
    return [next(r for r in records if r.trial_id == trial_id) for trial_id in row["trial_ids"].split()]


def close(text: str, value: float) -> bool:
    """True where a CSV cell holds this number in full; an empty cell is nan."""
    return (math.isnan(value) and text == "") or float(text) == pytest.approx(value, rel=1e-15)


def test_each_variant_is_one_row_and_each_record_is_in_one_row() -> None:
    records, trials = realistic()
    rows = rows_of(records, trials)
    assert len(rows) == 18
    assert sorted(" ".join(row["trial_ids"] for row in rows).split()) == sorted(r.trial_id for r in records)
    for row in rows:
        settings = [{**r.settings(), "seed": None} for r in of_row(row, records)]
        assert all(other == settings[0] for other in settings)


def test_score_is_the_median_with_lost_trials_as_the_worst() -> None:
    records, trials = realistic()
    for row in rows_of(records, trials):
        found = of_row(row, records)
        bad = -math.inf if row["metric"] == "accuracy" else math.inf
        values = [r.score if r.status == "ok" else bad for r in found]
        assert float(row["score"]) == statistics.median_low(values)  # three seeds: the middle one
        assert float(row["score_low"]) == min(values) and float(row["score_high"]) == max(values)
        assert row["score_confidence"] == "0.75" and row["score_n"] == "3"
        assert row["higher_is_better"] == ("true" if row["task"] == "digits" else "false")
        assert close(row["floor"], found[0].floor if found[0].status != "failed" else 1 / 6)


def test_a_lost_trial_is_the_worst_whatever_score_it_carries() -> None:
    trials = [Trial(task=DIGITS, cell={"name": "gru"}, examples=100, seed=s) for s in range(3)]
    found = [record(trials[0], score=0.5), diverged(trials[1], score=0.99), failed(trials[2], score=0.98)]
    (row,) = rows_of(found)
    assert (row["score"], row["score_low"], row["score_high"]) == ("-inf", "-inf", "0.5")
    assert "| 1 seed, none |" in told(found[:1], None)["md"]  # one seed has no interval, and the table says so


def test_a_rate_stands_with_how_far_its_seeds_lie_apart() -> None:
    """One trial of a busy machine is not a rank; with one seed there is nothing to say."""
    trials = grid(3, cells=("lstm",))[:3]
    rates = (900.0, 1_000.0, 1_200.0)
    found = [record(t, tokens_per_second=rate) for t, rate in zip(trials, rates, strict=True)]
    assert "| 1,000 ± 15 % |" in told(found, trials)["md"] and "1,000 ± 15 %" in told(found, trials)["terminal"]
    assert "| 1,000 ± 0.0 % |" in told([record(t, tokens_per_second=1_000.0) for t in trials], trials)["md"]
    assert "| 900 |" in told(found[:1], None)["md"]


@pytest.mark.parametrize("name", ["tokens_per_second", "seconds", "train_seconds"])
def test_speed_is_the_median_over_trials_that_ended_ok(name: str) -> None:
    records, trials = realistic()
    for row in rows_of(records, trials):
        values = [getattr(r, name) for r in of_row(row, records) if r.status == "ok"]
        assert close(row[name], float(np.median(values)))
        assert close(row[f"{name}_low"], min(values)) and close(row[f"{name}_high"], max(values))
        assert int(row[f"{name}_n"]) == len(values)


@pytest.mark.parametrize(
    "name",
    [
        "gradient_norm_median",
        "gradient_norm_p99",
        "gradient_norm_after_median",
        "clipped_share",
        "gradient_decay",
        "predicted_decay",
        "train_loss",
    ],
)
def test_gradient_numbers_are_medians_over_every_trial_that_measured_them(name: str) -> None:
    records, trials = realistic()
    for row in rows_of(records, trials):
        values = [v for r in of_row(row, records) if not math.isnan(v := getattr(r, name))]
        assert close(row[name], float(np.median(values)) if values else math.nan)
        assert int(row[f"{name}_n"]) == len(values)


def test_verdicts_kernels_counts_and_parameters() -> None:
    records, trials = realistic()
    for row in rows_of(records, trials):
        found = of_row(row, records)
        verdicts = [r.verdict or "n/a" for r in found]
        for verdict in set(verdicts):
            assert row["verdict"] == verdict or f"{verdict} {verdicts.count(verdict)}" in row["verdict"]
        for status in ("ok", "diverged", "failed"):
            assert int(row[f"trials_{status}"]) == sum(r.status == status for r in found)
        assert {row["kernel"]} == {r.kernel for r in found if r.kernel}
        assert {int(row["parameters"])} == {r.parameters for r in found if r.parameters}


def horizon_row(horizons: list[tuple[float, int]]) -> tuple[str, str]:
    trials = grid(len(horizons), cells=("lstm",))[: len(horizons)]
    found = [
        record(t, gradient_horizon=h, gradient_lags=[0, last], gradient_by_lag=[1.0, 0.5])
        for t, (h, last) in zip(trials, horizons, strict=True)
    ]
    (row,) = rows_of(found)
    return row["gradient_horizon"], row["gradient_horizon_at_least"]


def test_a_horizon_not_reached_is_a_bound_from_below_and_never_a_number_of_its_own() -> None:
    far = math.inf
    assert horizon_row([(10.0, 63), (20.0, 63), (40.0, 63)]) == ("20.0", "false")
    assert horizon_row([(10.0, 63), (20.0, 63), (far, 63)]) == (
        "20.0",
        "false",
    )  # whatever it is, 20 stays in the middle
    assert horizon_row([(10, 63), (far, 63), (far, 63)]) == ("63.0", "true")
    assert horizon_row([(40, 63), (far, 63)]) == ("51.5", "true")  # between 51.5 and unknown
    assert horizon_row([(40.0, 63), (70.0, 80), (far, 31)]) == ("40.0", "true")  # somewhere from 40 to 70


def test_a_bound_is_rounded_down_and_a_horizon_to_the_nearest() -> None:
    for horizons, shown in ([(9.9, 10), (math.inf, 10)], "≥ 9"), ([(9.9, 10), (9.9, 10)], "10"):
        trials = [Trial(task=DIGITS, cell={"name": "gru"}, examples=100, seed=s) for s in range(2)]
        found = [
            record(t, gradient_horizon=h, gradient_lags=[0, n]) for t, (h, n) in zip(trials, horizons, strict=True)
        ]
        assert f" | {shown} | " in told(found, trials)["md"]


def test_even_seeds_and_many_seeds_have_the_interval_of_their_number() -> None:
    trials = [Trial(task=DIGITS, cell={"name": "lstm"}, examples=100, seed=s) for s in range(12)]
    scores = np.random.default_rng(1).random(12).tolist()
    (row,) = rows_of([record(t, score=s) for t, s in zip(trials, scores, strict=True)])
    ordered = sorted(scores)
    assert close(row["score"], (ordered[5] + ordered[6]) / 2)
    assert (float(row["score_low"]), float(row["score_high"])) == (ordered[2], ordered[9])  # ranks 3 and 10 of 12
    assert float(row["score_confidence"]) == pytest.approx(1 - 2 * (1 + 12 + 66) / 4096)  # 96.1 %


@pytest.mark.parametrize(
    ("scores", "floor", "higher", "expected"),
    [
        ([0.5, 0.6, 0.7], 0.4, True, "true"),
        ([0.5, 0.6, 0.7], 0.5, True, "false"),  # touches
        ([0.3, 0.6, 0.7], 0.4, True, "false"),  # includes
        ([0.1, 0.2, 0.3], 0.4, True, "false"),  # worse
        ([0.1, 0.2, 0.3], 0.4, False, "true"),
        ([0.1, 0.2, 0.5], 0.4, False, "false"),
        ([0.5, 0.6, math.nan], 0.4, True, "false"),  # ok, but no number: counts as the worst
        ([0.5, 0.6, 0.7], math.nan, True, ""),
    ],
)
def test_the_floor_is_beaten_by_the_whole_interval_or_not_at_all(scores, floor, higher, expected) -> None:
    trials = grid(3, cells=("lstm",))[:3]
    made = [record(t, score=s, floor=floor, higher_is_better=higher) for t, s in zip(trials, scores, strict=True)]
    (row,) = rows_of(made)
    assert row["beats_floor"] == expected


def test_headers_are_the_one_vocabulary() -> None:
    records, trials = realistic()
    names = set(rows_of(records, trials)[0])
    suffixed = {name for name in names if re.sub("_(low|high|confidence|n|at_least)$", "", name) in METRICS}
    others = {
        "task",
        "cell",
        "bptt_length",
        "clip_norm",
        "metric",
        "higher_is_better",
        "floor",
        "beats_floor",
        "kernel",
        "bound",
        "ceiling_compute",
        "ceiling_bandwidth",
        "ceiling_latency",
    }
    others |= {"verdict", "fingerprint", "git_commit", "trial_ids", "settings", "score"}
    others |= {f"score_{k}" for k in ("low", "high", "confidence", "n")}
    others |= {"gradient_decay_by_layer", "gradient_horizon_by_layer", "lyapunov"}
    others |= {f"truncation_{k}" for k in ("k", "cosine", "norm_ratio")} | {
        f"failed_{k}" for k in ("update", "layer", "step")
    }
    others |= {f"trials_{k}" for k in ("ok", "diverged", "failed", "missing")}
    others |= {"difference", "difference_low", "difference_high", "difference_confidence", "best_ahead", "score_iqm"}
    others |= {"score_iqm_low", "score_iqm_high", "p", "p_holm", "against_best", "seeds_needed"}
    assert names - suffixed == others
