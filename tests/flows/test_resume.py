"""A trial that is stopped and goes on is the trial that was never stopped: bit for bit, after whichever update."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from stopping import At, InEvaluation, same, stopped, whole

from harness.engine import run_trial
from harness.errors import Paused
from harness.record import Record
from harness.stop import Stop
from harness.training.checkpoint import Checkpoints
from harness.training.keeper import Keeper
from harness.trial import Trial

BASE: dict[str, Any] = {"hidden_size": 6, "learning_rate": 0.01, "clip_norm": 0.5, "probe_every": 3, "evaluations": 3}
DROPOUT = {"layers": 2, "dropout": 0.3, "input_dropout": 0.2, "output_dropout": 0.2}
DIGITS = {"task": {"name": "digits", "steps": 8}, "batch_size": 16}
ADDING = {"name": "adding", "length": 10, "train_examples": 50, "valid_examples": 20, "test_examples": 20}
TRIALS: dict[str, dict[str, Any]] = {
    # more than one shuffled pass, a batch across its seam, windows that end inside the sequence
    "shuffled, dropout, windows, cosine": {
        "task": ADDING, "cell": {"name": "lstm"}, "bptt_length": 4, "bptt_stride": 3, "batch_size": 8, "examples": 100,
        "schedule": "cosine", "weight_decay": 0.01, **DROPOUT,
    },
    "best on validation, float64, sgd": {
        **DIGITS, "cell": {"name": "gru"}, "examples": 160, "select": "best", "precision": "float64",
        "optimizer": "sgd", "learning_rate": 5.0, "clip_norm": None, "evaluations": 5,
    },
    "a scaled loss that overflows": {
        "task": ADDING, "cell": {"name": "elman"}, "batch_size": 8, "examples": 88, "precision": "float16-mixed",
    },
    "both directions, one evaluation": {
        **DIGITS, "cell": {"name": "elman"}, "bidirectional": True, "bptt_length": 3, "examples": 130,
        "evaluations": 1, **DROPOUT,
    },
    "encoder-decoder": {
        "task": {"name": "reversal", "length": 4, "train_examples": 60, "valid_examples": 20, "test_examples": 20},
        "cell": {"name": "lstm"}, "attention": "dot", "pointer": True, "batch_size": 8, "examples": 72, **DROPOUT,
    },
    # the state is carried and looks back, and starts anew where the second pass begins
    "a stream of one document": {
        "task": {"name": "autocomplete", "characters": 1_000}, "cell": {"name": "lstm"}, "bptt_length": 12,
        "bptt_stride": 9, "batch_size": 20, "tokens": 1_900, **DROPOUT,
    },
    # each stream starts anew where its document ends
    "a stream of many documents": {
        "task": {"name": "autocomplete", "characters": 3_000, "documents": "files"}, "cell": {"name": "gru"},
        "bptt_length": 30, "batch_size": 5, "tokens": 1_500,
    },
    # the loss passes a thousand times that of the first update
    "one that explodes": {
        "task": ADDING, "cell": {"name": "feedforward"}, "batch_size": 8, "examples": 400, "optimizer": "sgd",
        "learning_rate": 0.9, "clip_norm": None, "evaluations": 25,
    },
}  # fmt: skip


def trial(kind: str) -> Trial:
    return Trial(**BASE | TRIALS[kind]).normalised()


@pytest.fixture(scope="module")
def expected() -> Callable[[str], tuple[Record, list[bytes]]]:
    """What each trial comes to when nobody stops it."""
    return cache(lambda kind: whole(trial(kind)))


def stops(record: Record) -> range:
    """Every update after which it can be stopped; one that failed is a record already."""
    assert record.attempts == 1 and 6 <= record.updates <= 20 and not record.traceback, record.traceback
    return range(1, record.updates + (record.status == "ok"))


def test_the_trials_are_what_they_are_called(expected):
    records = {kind: expected(kind)[0] for kind in TRIALS}
    assert {kind: r.status for kind, r in records.items() if r.status != "ok"} == {"one that explodes": "diverged"}
    assert "times the first loss" in records["one that explodes"].reason
    assert records["a scaled loss that overflows"].skipped_updates > 0
    best = records["best on validation, float64, sgd"]
    assert best.valid_score != best.curve_valid_score[-1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRIALS)
def test_stopped_after_any_update_it_is_the_same_trial(kind, expected, tmp_path):
    for update in stops(expected(kind)[0]):
        found = stopped(trial(kind), tmp_path, [update])
        assert found[0].attempts == 2 and same(found, expected(kind)), f"after update {update}"


@pytest.mark.parametrize("kind", TRIALS)
def test_stopped_after_every_update_it_is_the_same_trial(kind, expected, tmp_path):
    every = stops(expected(kind)[0])
    found = stopped(trial(kind), tmp_path, every)
    assert found[0].attempts == len(every) + 1 and same(found, expected(kind))


@pytest.mark.parametrize("update", [4, 8, 12, 13])
def test_stopped_while_it_is_evaluated_it_is_the_same_trial(update, expected, tmp_path):
    """At a third of the updates, and after the last one, which is evaluated outside of training."""
    kind = "shuffled, dropout, windows, cosine"
    found = stopped(trial(kind), tmp_path, [update], InEvaluation)
    assert found[0].attempts == 2 and same(found, expected(kind))


def test_killed_between_two_checkpoints_it_repeats_what_was_not_saved(expected, tmp_path):
    """A checkpoint of update 4, and updates up to the seventh that nobody saved."""
    kind = "shuffled, dropout, windows, cosine"

    class Killed(At):
        def stop_now(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(Paused):
        run_trial(trial(kind), keeper=At(Checkpoints(tmp_path / "c", "t"), 4, Stop(str(tmp_path / "s"))))
    (tmp_path / "s").unlink()
    with pytest.raises(SystemExit):  # which is what Lightning makes of it
        run_trial(trial(kind), keeper=Killed(Checkpoints(tmp_path / "c", "t"), 7, Stop(str(tmp_path / "s"))))
    kept: list[bytes] = []
    record = run_trial(trial(kind), keep=kept.append, keeper=Keeper(Checkpoints(tmp_path / "c", "t")))
    assert record.attempts == 3 and same((record, kept), expected(kind))


def test_time_adds_up_over_attempts(tmp_path):
    """What was trained counts once in `update_seconds`; `seconds` is of all attempts, and no time passes in between."""
    kind = "encoder-decoder"
    begin = time.perf_counter()
    record, _ = stopped(trial(kind), tmp_path, [3, 6])
    spent = time.perf_counter() - begin
    assert len(record.update_seconds) == record.updates and all(0 < s < spent for s in record.update_seconds)
    assert sum(record.update_seconds) == pytest.approx(record.train_seconds)
    assert record.train_seconds < record.seconds < spent
