"""Every mapping learns its task in a real run, and two updates of it leave a whole record."""

from __future__ import annotations

import math
from typing import Any

import pytest

from harness.engine import run_trial
from harness.record import Record
from harness.trial import Trial

TASKS: dict[str, dict[str, Any]] = {
    "one-to-one": {"name": "spirals"},
    "one-to-many": {"name": "countdown", "largest": 6, "strides": 2, "test_examples": 100},
    "many-to-one": {"name": "digits", "steps": 8},
    "many-to-many": {"name": "delayed-recall", "test_examples": 100},
    "encoder-decoder": {"name": "reversal", "length": 5, "symbols": 4, "test_examples": 500},
}


def ran(mapping: str, cell: Any = "gru", **settings: Any) -> Record:
    plain = {"hidden_size": 32, "batch_size": 32, "learning_rate": 0.01, "evaluations": 2, "probe_every": 20}
    named = {"name": cell} if isinstance(cell, str) else cell
    return run_trial(Trial(**{**plain, "task": TASKS[mapping], **settings, "cell": named}))


def whole(record: Record) -> Record:
    """Return a record that went well; every number of a trial's stability and speed is there."""
    assert (record.status, record.reason) == ("ok", ""), record.traceback
    numbers = [record.score, record.valid_score, record.floor, record.train_loss, record.update_ratio_median]
    numbers += [record.gradient_norm_median, record.gradient_norm_p99, record.gradient_norm_max, record.clipped_share]
    numbers += [record.tokens_per_second, record.train_seconds, record.seconds]
    assert all(math.isfinite(number) for number in numbers)
    assert record.kernel and record.verdict and record.parameters and record.weights_sha256
    assert record.padded_tokens >= record.tokens > 0
    assert len(record.gradient_norms) == len(record.update_seconds) == record.updates
    return record


@pytest.mark.parametrize("mapping", TASKS)
@pytest.mark.parametrize("cell", ["lstm", "gru", "elman", "feedforward"])
def test_two_updates_of_every_mapping_leave_a_whole_record(mapping: str, cell: str) -> None:
    record = whole(ran(mapping, cell, examples=48, layers=2))
    assert (record.updates, record.examples) == (2, 48)
    assert record.score == record.score
    if cell == "feedforward":
        assert record.gradient_lags == []
        return
    assert record.gradient_lags[0] == 0
    assert len(record.gradient_by_lag) == len(record.gradient_lags) == len(record.gradient_by_lag_by_layer[0])
    assert len(record.gradient_by_lag_by_layer) == 2
    if mapping != "one-to-one":  # one step has a lag of 0 and 1 only
        assert math.isfinite(record.gradient_decay)
        assert record.gradient_lags[-1] > 1


LEARNT = {
    # mapping: (settings, accuracy that is reached with room to spare)
    "one-to-one": ({"cell": "feedforward", "layers": 2, "learning_rate": 0.03, "examples": 12_000}, 0.95),
    "one-to-many": ({"examples": 4_000}, 0.95),
    "many-to-one": ({"examples": 4_000}, 0.7),
    "many-to-many": ({"examples": 3_000}, None),
    "encoder-decoder": ({"examples": 12_000, "batch_size": 64, "hidden_size": 48}, 0.9),
}


@pytest.mark.parametrize("mapping", LEARNT)
def test_every_mapping_learns_its_task(mapping: str) -> None:
    settings, reached = LEARNT[mapping]
    record = whole(ran(mapping, **settings))
    assert record.score > (reached or record.floor + 0.1)


@pytest.mark.parametrize("mapping", ["many-to-one", "many-to-many"])
def test_of_targets_dealt_out_at_random_nothing_is_learnt(mapping: str) -> None:
    settings, _ = LEARNT[mapping]
    record = whole(ran(mapping, **settings, shuffled_targets=True))
    assert record.score < record.floor + 0.05


@pytest.mark.parametrize("mapping", ["one-to-many", "encoder-decoder"])
def test_without_a_state_the_answer_cannot_be_known(mapping: str) -> None:
    record = whole(ran(mapping, "feedforward", examples=3_000))
    assert record.score < record.floor + 0.05


@pytest.mark.parametrize("pointer", [False, True])
def test_attention_and_a_beam_and_two_directions_run_and_learn(pointer: bool) -> None:
    settings = {
        "attention": "dot",
        "pointer": pointer,
        "beam_width": 3,
        "bidirectional": True,
        "clip_norm": 1.0,
        "bptt_length": 3,
    }
    record = whole(ran("encoder-decoder", "lstm", examples=8_000, batch_size=64, **settings))
    assert record.score > 0.9
    assert record.gradient_lags == list(range(6))  # attention is a way back that no cut closes


@pytest.mark.parametrize("mapping", ["one-to-many", "encoder-decoder"])
@pytest.mark.parametrize("precision", ["bfloat16-mixed", "float16-mixed", "float64"])
def test_a_decoder_runs_in_every_precision(mapping: str, precision: str) -> None:
    settings = {"attention": "dot", "beam_width": 2, "learning_rate": 0.001, "pointer": mapping == "encoder-decoder"}
    record = ran(mapping, examples=64, precision=precision, **settings)
    assert record.status == "ok", record.traceback
    assert math.isfinite(record.train_loss)


@pytest.mark.parametrize("mapping", ["one-to-many", "encoder-decoder"])
@pytest.mark.parametrize("tokens", [100, 1_000])
def test_a_budget_of_tokens_counts_what_is_read_and_what_is_written(mapping: str, tokens: int) -> None:
    record = ran(mapping, tokens=tokens, batch_size=8)
    assert tokens <= record.tokens < tokens + 2 * 6
    assert record.padded_tokens > record.tokens


def test_the_same_trial_gives_the_same_record() -> None:
    settings = {"examples": 200, "attention": "dot", "beam_width": 2, "dropout": 0.2, "layers": 2}
    first, second = (ran("encoder-decoder", "lstm", **settings).without_times() for _ in range(2))
    assert repr(first) == repr(second)


def test_a_divergence_names_update_layer_and_step() -> None:
    settings = {"optimizer": "sgd", "learning_rate": 1e4, "examples": 640, "hidden_size": 16}
    task = {**TASKS["encoder-decoder"], "length": 40, "shortest": 40}
    record = ran("encoder-decoder", cell={"name": "elman", "activation": "relu"}, task=task, **settings)
    assert record.status == "diverged"
    assert record.failed_update is not None and 2 <= record.failed_update <= 20
    assert record.failed_layer in ("encoder.layers.0", "decoder.layers.0")
    assert record.failed_step is not None and 0 <= record.failed_step <= 41
    assert "a state is not finite" in record.reason


def test_an_explosion_of_finite_numbers_names_the_layer() -> None:
    record = ran("encoder-decoder", "lstm", optimizer="sgd", learning_rate=1e4, examples=640)
    assert record.status == "diverged"
    assert record.failed_update is not None and record.failed_update >= 2  # the first one is what it is held against
    assert "times the first loss" in record.reason
    assert record.failed_layer
