"""What a trial of several workers finds out by itself: how much faster they are than one, at a bounded cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from report_records import ADDING, record, rows_of, told
from together import Together

from harness import machine
from harness.engine import run_trial
from harness.record import TIMED, Record
from harness.training import scaling
from harness.training.workers import Workers
from harness.trial import Trial

ASKED = {
    "task": {"name": "adding", "length": 24, "valid_examples": 50, "test_examples": 50}, "cell": {"name": "lstm"},
    "hidden_size": 48, "batch_size": 32, "examples": 2_000, "evaluations": 1, "clip_norm": 1.0, "dropout": 0.1,
    "layers": 2,
}  # fmt: skip
STREAM = {
    "task": {"name": "autocomplete", "characters": 4_000}, "cell": {"name": "gru"}, "hidden_size": 16,
    "batch_size": 8, "bptt_length": 12, "bptt_stride": 9, "tokens": 4_000, "evaluations": 1,
}  # fmt: skip
FIELDS = {"update_seconds": [9.0, 0.1, 0.1, 0.1], "warmup_updates": 1, "activation_bytes": 1 << 20}


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Iterator[Together]:
    group = Together(2, tmp_path_factory.mktemp("group"))
    yield group
    group.close()


def trial(**asked: Any) -> Trial:
    return Trial(**asked).normalised()


def trained(workers: Workers, asked: Trial, measured: bool = True) -> tuple[Record, bytes, torch.Tensor]:
    """The record and weights of a trial, and the generator after it; not `measured`: where no time is left for that."""
    kept, shared = [], scaling.LONGEST
    try:
        scaling.LONGEST = shared if measured else 0.0
        found = run_trial(asked, keep=kept.append, workers=workers)
    finally:
        scaling.LONGEST = shared
    return found, kept[0], torch.get_rng_state()


@pytest.mark.slow
@pytest.mark.parametrize("asked", [ASKED, STREAM], ids=["sequences", "a stream"])
def test_a_trial_of_two_workers_says_how_it_scales_and_is_the_same_trial(asked, together):
    two = trial(**asked, workers=2)
    (found, weights, drawn), (other, *_) = together(trained, two)
    assert found.status == "ok", found.traceback
    assert found.scaling_efficiency > 0 and found.speed_up == 2 * found.scaling_efficiency
    gains = [found.scaling_efficiency]
    while min(gains) > 1.2 and len(gains) < 5:  # more than two can do: one alone was held up by what else runs here
        gains.append(together(trained, two)[0][0].scaling_efficiency)
    assert min(gains) <= 1.2, gains
    assert len(found.alone_seconds) >= scaling.LEAST and min(found.alone_seconds) > 0
    assert other.alone_seconds == [], "the first one alone measures"
    (without, same_weights, same_drawn), _ = together(trained, two, False)
    assert math.isnan(without.scaling_efficiency) and math.isnan(without.speed_up) and without.alone_seconds == []
    assert repr(found.without_times()) == repr(without.without_times())
    assert weights == same_weights and torch.equal(drawn, same_drawn)
    assert {"speed_up", "scaling_efficiency", "alone_seconds"} <= TIMED
    assert len(found.update_seconds) == len(without.update_seconds) == found.updates, "not among the trial's own"


def test_a_trial_of_one_worker_has_none():
    found = run_trial(trial(**ASKED | {"examples": 200}))
    assert found.status == "ok" and math.isnan(found.scaling_efficiency) and math.isnan(found.speed_up)
    assert found.alone_seconds == []


@pytest.mark.slow
def test_two_that_diverge_have_none(together):
    found, _ = together(diverging, trial(**ASKED | {"learning_rate": 1e9}, workers=2))
    assert found.status == "diverged" and math.isnan(found.scaling_efficiency)


def diverging(workers: Workers, asked: Trial) -> Record:
    return run_trial(asked, workers=workers)


@pytest.mark.parametrize(
    ("workers", "seconds", "updates"),
    [
        (2, 10.0, scaling.LEAST),  # of a short trial the least, which take 0.8 s
        (2, 61.0, 9),  # 3 % of about a minute, each update as long as both workers take for theirs
        (2, 1e6, scaling.MOST),
        (8, 10.0, 0),  # 3.2 s are too long beside ten
        (8, 110.0, scaling.LEAST),  # and not beside a hundred
    ],
)
def test_what_it_costs_is_bounded(workers: int, seconds: float, updates: int) -> None:
    assert scaling.affordable(FIELDS, workers, seconds) == updates
    assert updates * workers * 0.1 <= max(scaling.LONGEST, scaling.SHARE * seconds)


def test_a_whole_batch_that_may_not_fit_and_updates_that_were_not_timed_are_left_alone() -> None:
    assert scaling.affordable(FIELDS | {"activation_bytes": 1 << 60}, 2, 60.0) == 0
    assert scaling.affordable(FIELDS | {"update_seconds": [], "warmup_updates": 0}, 2, 60.0) == 0


def test_memory_that_is_left_is_that_of_the_tightest_group(tmp_path) -> None:
    free = machine.memory_left(tmp_path, tmp_path / "none")
    assert 2**20 < free < math.inf
    (tmp_path / "a").mkdir()
    for name, text in {"a/memory.max": "1000\n", "a/memory.current": "400\n", "memory.max": "max\n"}.items():
        tmp_path.joinpath(name).write_text(text)
    tmp_path.joinpath("own").write_text("0::/a\n")
    assert machine.memory_left(tmp_path, tmp_path / "own") == 600


def test_a_table_without_one_worker_has_what_each_trial_found() -> None:
    asked = {"task": ADDING, "cell": {"name": "lstm"}, "examples": 100}
    gains = {2: 1.6, 4: 2.0}
    made = [
        record(Trial(**asked, workers=n, seed=seed), speed_up=gain, scaling_efficiency=gain / n)
        for n, gain in gains.items()
        for seed in range(3)
    ]
    assert {row["workers"]: float(row["scaling_efficiency"]) for row in rows_of(made)} == {"2": 0.8, "4": 0.5}
    text = " ".join(told(made, None)["md"].split())
    assert "own efficiency" in text and "by its own measure" in text and "is 1.60 [1.60, 1.60] times as fast" in text
