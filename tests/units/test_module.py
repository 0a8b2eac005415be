"""The module and the engine: what an update reports, when training ends, and that a trial repeats bit for bit."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from trained import AtEnd, EachStep, Trained, curves, text, train, trial

from harness.data.batches import Batch, EvalBatches, TrainBatches
from harness.data.passes import Passes
from harness.engine import run_trial
from harness.metrics import METRICS
from harness.record import Record
from harness.tasks.base import Examples
from harness.training.module import EXPLOSION, RecurrentModule
from harness.trial import CLIPPING, Trial

DIGITS = {"name": "digits", "steps": 8}
ADDING = {"name": "adding", "length": 10, "train_examples": 200, "valid_examples": 50, "test_examples": 50}
STREAM = {"name": "autocomplete", "characters": 3_000}


def asked(**changes: Any) -> Trial:
    plain = {"task": DIGITS, "cell": {"name": "lstm"}, "hidden_size": 8, "examples": 64, "evaluations": 1}
    return Trial(**{**plain, **changes})


def norm(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(float(t.double().square().sum()) for t in tensors))


def equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# what an update reports


class AtTheStep(pl.Callback):
    """Measures just before the optimiser steps, as `on_before_optimizer_step` does: too late, for it is clipped."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.optimizers[0].register_step_pre_hook(self.measure)

    def measure(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self.norms.append(norm([p.grad for group in optimizer.param_groups for p in group["params"]]))


def test_the_reported_norm_is_the_one_before_clipping_and_a_step_takes_the_one_after() -> None:
    batches, late = [curves(8, 6, seed) for seed in range(3)], AtTheStep()
    done = train(trial(clip_norm=1e-3), AtEnd(), batches, watch=[late])
    free = train(trial(), AtEnd(), batches[:1])
    assert late.norms == pytest.approx([1e-3] * 3, rel=1e-3)
    assert done.observed["gradient_norms"][0] == pytest.approx(norm(free.gradients[0]), rel=1e-12)
    assert all(before > 0.01 for before in done.observed["gradient_norms"])
    assert [update.clipped.after for update in done.updates] == pytest.approx(late.norms, rel=1e-6)
    assert done.observed["clipped_share"] == 1.0


@pytest.mark.parametrize("bptt_length", [None, 2])
@pytest.mark.parametrize("at_end", [False, True])
def test_a_batch_of_which_nothing_is_due_is_counted_and_moves_nothing(at_end: bool, bptt_length: int | None) -> None:
    """As a window of a stream may be: its loss is 0, not 0 / 0."""
    if at_end:
        task, batch = AtEnd(), curves(8, 6)
        batch = batch._replace(targets=torch.full_like(batch.targets, math.nan))
    else:
        task, batch = EachStep(), Batch.of(text(6, 4), np.arange(2))
        batch = batch._replace(targets=torch.full_like(batch.targets, -100))
    done = train(trial(bptt_length=bptt_length, clip_norm=1.0), task, [batch, batch])
    assert done.module.failure is None and done.observed["updates"] == 2
    assert [update.loss for update in done.updates] == [0.0, 0.0] == done.observed["gradient_norms"]
    assert equal(done.weights[0], done.weights[2])
    assert not any(math.isnan(norm) for norm in done.observed.get("gradient_by_lag", []))


MAY_BE_MISSING = {"feedforward": {"gradient_decay", "gradient_horizon", "predicted_decay"}}
"""Metrics that a network without memory cannot have."""
OF_SEVERAL = {"speed_up", "scaling_efficiency"}
"""Metrics that a trial of one worker cannot have (test_own_scaling.py)."""


@pytest.mark.parametrize(
    ("cell", "more"),
    [
        ("lstm", {"clip_norm": 1.0, "layers": 2}),
        ("gru", {"task": ADDING, "bptt_length": 4}),
        ("elman", {"task": STREAM, "examples": None, "tokens": 300, "bptt_length": 5}),
        ("feedforward", {}),
    ],
)
def test_every_advertised_metric_is_filled_after_two_updates(cell: str, more: dict[str, Any]) -> None:
    record = run_trial(asked(cell={"name": cell}, **more))
    assert (record.status, record.updates) == ("ok", 2), record.traceback
    fields = {field.name for field in dataclasses.fields(Record)}
    empty = {name for name in METRICS if name in fields and math.isnan(getattr(record, name))}
    assert empty <= MAY_BE_MISSING.get(cell, set()) | OF_SEVERAL
    scores = [record.score, record.valid_score, record.floor, *record.curve_valid_score]
    assert all(math.isfinite(value) for value in scores) and METRICS[record.metric]
    assert len(record.gradient_norms) == len(record.update_seconds) == 2
    assert record.curve_examples[-1] == record.examples and record.curve_tokens[-1] == record.tokens
    assert record.kernel and record.verdict and len(record.weights_sha256) == len(record.data_sha256) == 64
    assert record.parameters > 0 and record.train_seconds > 0 and record.seconds > record.train_seconds


@pytest.mark.parametrize(
    "more",
    [
        {"layers": 2, "dropout": 0.5, "bidirectional": True},
        {"task": ADDING, "optimizer": "sgd", "clip_agc": 0.01},
        {"task": STREAM, "examples": None, "tokens": 700, "bptt_length": 8, "bptt_stride": 4},
        {"cell": {"name": "elman"}, "learning_rate": 1e3, "examples": 320},
    ],
)
def test_the_same_trial_gives_the_same_record_but_for_its_times(more: dict[str, Any]) -> None:
    first = run_trial(asked(**more))
    torch.manual_seed(99)
    np.random.seed(99)
    again = run_trial(asked(**more))
    assert repr(first.without_times()) == repr(again.without_times())
    assert first.weights_sha256 != run_trial(asked(**more, seed=1)).weights_sha256


# when training ends


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("task", [DIGITS, ADDING])
def test_a_step_size_that_is_far_too_large_ends_at_the_first_bad_update(optimizer: str, task: dict[str, Any]) -> None:
    record = run_trial(
        asked(task=task, cell={"name": "elman"}, optimizer=optimizer, learning_rate=1e3, examples=3_200, hidden_size=32)
    )
    assert record.status == "diverged" == record.verdict
    assert record.failed_update == record.updates == len(record.gradient_norms) < 20
    assert record.failed_layer in ("layers.0", "head") and record.reason and not record.traceback
    assert math.isnan(record.score) and math.isnan(record.valid_score)
    assert all(math.isfinite(value) for value in record.gradient_norms[:-1])
    assert f"over {EXPLOSION:,} times the first loss" in record.reason or "not finite" in record.reason


def nan_at(batch: Batch, example: int, step: int) -> Batch:
    inputs = batch.inputs.clone()
    inputs[example, step, 1] = math.nan
    return batch._replace(inputs=inputs)


@pytest.mark.parametrize("kind", [None, *CLIPPING])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_one_nan_leaves_the_weights_as_they_were_and_names_where_it_came_in(kind: str | None, optimizer: str) -> None:
    good, bad = curves(4, 6), nan_at(curves(4, 6, seed=1), example=2, step=3)
    done = train(trial(optimizer=optimizer, **({kind: 0.1} if kind else {})), AtEnd(), [good, good, bad, good])
    failure = done.module.failure
    assert failure is not None and (failure.update, failure.layer, failure.step) == (3, "input", 3)
    assert failure.reason.startswith("the input is not finite; loss nan")
    assert len(done.updates) == 3  # the fourth batch was not begun
    assert not equal(done.weights[1], done.weights[2])
    assert equal(done.weights[2], done.weights[3])
    assert all(bool(weight.isfinite().all()) for weight in done.weights[3])


def grown(made: RecurrentModule) -> None:
    """Give a relu network a recurrent weight of 1e60: from step to step its state grows by that, from step 1 on."""
    with torch.no_grad():
        for name, weight in made.model.named_parameters():
            if "layers.1" in name:
                weight.zero_()
            if name == "stack.layers.1.0.bias_hh":
                weight.fill_(1.0)
            if name == "stack.layers.1.0.weight_hh":
                weight.copy_(1e60 * torch.eye(len(weight), dtype=weight.dtype))


def test_a_state_that_overflows_names_its_layer_and_the_first_time_step() -> None:
    asked_for = trial(cell={"name": "elman", "activation": "relu"}, layers=2)
    done = train(asked_for, AtEnd(), [curves(4, 9)], grown)
    failure = done.module.failure
    # 1, 1e60, 1e120, 1e180, 1e240, 1e300, then beyond 1.8e308
    assert failure is not None and (failure.update, failure.layer, failure.step) == (1, "layers.1", 6)
    assert failure.reason.startswith("a state is not finite")


@pytest.mark.parametrize(("times", "ends"), [(0.9 * EXPLOSION, False), (1.1 * EXPLOSION, True)])
def test_a_loss_over_a_thousand_times_the_first_has_exploded(times: float, ends: bool) -> None:
    def answering_zero(made: RecurrentModule) -> None:
        with torch.no_grad():
            for weight in made.model.parameters():
                weight.zero_()

    batch = curves(4, 5)
    targets = torch.ones_like(batch.targets)
    batches = [batch._replace(targets=targets * factor) for factor in (1.0, math.sqrt(times), 1.0)]
    done = train(trial(learning_rate=1e-12), AtEnd(), batches, answering_zero)
    failure = done.module.failure
    assert (failure is not None) == ends and len(done.updates) == (2 if ends else 3)
    if failure is not None:
        assert failure.reason == "loss 1100 is over 1,000 times the first loss, 1" and failure.layer == "head"
        assert equal(done.weights[1], done.weights[2])


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_weights_of_a_diverged_trial_are_finite_and_those_before_the_failed_update(optimizer: str) -> None:
    batches = [curves(4, 5, seed) for seed in range(20)]
    done = train(trial(cell={"name": "elman"}, optimizer=optimizer, learning_rate=1e3), AtEnd(), batches)
    assert done.module.failure is not None and done.module.failure.update == len(done.updates) < 20
    assert all(bool(weight.isfinite().all()) for weight in done.weights[-1])
    assert equal(done.weights[-2], done.weights[-1]) and not equal(done.weights[0], done.weights[-1])


def test_a_diverged_trial_is_a_record_with_its_probes_so_far() -> None:
    record = run_trial(asked(cell={"name": "elman"}, learning_rate=1e3, optimizer="sgd", examples=3_200))
    assert record.status == "diverged"
    assert record.updates == len(record.update_seconds) and record.tokens == record.updates * 32 * 8
    assert record.gradient_lags and record.kernel and record.parameters


# windows


@pytest.mark.parametrize("task", [AtEnd(), EachStep()])
@pytest.mark.parametrize("cell", ["lstm", "gru", "elman"])
def test_a_window_of_the_whole_sequence_trains_as_full_bptt_bit_for_bit(task: Any, cell: str) -> None:
    examples = text(7, 7, 7)
    batches = [curves(3, 7, seed) for seed in range(3)] if isinstance(task, AtEnd) else list(EvalBatches(examples, 1))
    runs: list[Trained] = []
    for length, stride in [(None, None), (7, None), (7, 7), (100, None), (5, None)]:
        small = trial(cell={"name": cell}, precision="float32", optimizer="adam", bptt_length=length)
        runs.append(train(small.model_copy(update={"bptt_stride": stride}), task, batches))
    full, *same, shorter = runs
    assert all(equal(run.weights[-1], full.weights[-1]) for run in same)
    assert not equal(shorter.weights[-1], full.weights[-1])


def test_an_update_counts_real_steps_and_computed_ones() -> None:
    examples = text(7, 3, 5)
    (batch,) = EvalBatches(examples, 3)
    update = train(trial(), EachStep(), [batch]).updates[0]
    assert (update.tokens, update.padded_tokens, update.examples) == (15, 21, 3)


# budgets and batches


@pytest.mark.parametrize(
    ("budget", "updates", "examples"),
    [
        ({"examples": 100}, 4, 100),
        ({"examples": 96}, 3, 96),
        ({"examples": 7}, 1, 7),
        ({"tokens": 800}, 4, 100),
        ({"tokens": 801}, 4, 101),  # 8 steps an example: the one that reaches the budget is the last
        ({"examples": 1_300}, 41, 1_300),  # more than one pass over 1,257
    ],
)
def test_a_budget_is_spent_exactly(budget: dict[str, int], updates: int, examples: int) -> None:
    record = run_trial(asked(cell={"name": "feedforward"}, **{"examples": None, **budget}))
    assert (record.updates, record.examples, record.tokens) == (updates, examples, 8 * examples), record.traceback


@pytest.mark.parametrize(("rows", "budget", "updates"), [(1, 1, 1), (1, 65, 3), (3, 32, 1), (33, 33, 2), (33, 66, 3)])
def test_fewer_examples_than_a_batch_are_repeated_to_the_budget(rows: int, budget: int, updates: int) -> None:
    """One alone, fewer than a batch, and a last batch of one: exact counts, and every number is one."""
    task = {**ADDING, "train_examples": rows, "valid_examples": 1, "test_examples": 1}
    record = run_trial(asked(task=task, examples=budget, batch_size=32))
    assert (record.status, record.updates, record.examples) == ("ok", updates, budget), record.traceback
    assert all(math.isfinite(value) for value in [record.score, record.train_loss, *record.gradient_norms])


def test_a_stream_spends_its_tokens_exactly() -> None:
    for tokens, stride in itertools.product([1, 500, 3_001], [None, 4]):
        record = run_trial(asked(task=STREAM, examples=None, tokens=tokens, bptt_length=8, bptt_stride=stride))
        assert record.status == "ok" and record.tokens == tokens, record.traceback
        # 2,399 targets on 32 streams: 74 steps of each, and 31 that are left out
        assert record.dropped_tokens == 31
        windows = math.ceil(74 / (stride or 8))
        full, rest = divmod(tokens, 74 * 32)
        assert record.updates == full * windows + math.ceil(rest / 32 / (stride or 8))
        assert record.examples == 32 * record.updates and record.padded_tokens >= tokens


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 200), st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_a_budget_of_tokens_is_reached_by_its_last_example(lengths: list[int], tokens: int, seed: int) -> None:
    examples = text(*lengths)
    passes = Passes(len(examples), seed)
    count = passes.examples_of(examples.lengths, tokens)
    read = [int(n) for batch in TrainBatches(examples, 1, passes, count) for n in batch.lengths]
    assert len(read) == count and sum(read) >= tokens > sum(read[:-1])


def plain(batches: Any) -> list[Any]:
    return [[None if field is None else torch.as_tensor(field).tolist() for field in batch] for batch in batches]


def numbered(count: int) -> Examples:
    inputs = np.arange(count)[:, None]
    return Examples(inputs, inputs.copy(), np.ones(count, np.int64))


def test_a_pass_sees_each_example_once_and_only_the_last_batch_is_short() -> None:
    loader = TrainBatches(numbered(10), 4, Passes(10, 3), 23)
    batches = list(loader)
    assert [len(batch.inputs) for batch in batches] == [4, 4, 4, 4, 4, 3] and len(loader) == 6
    seen = [int(x) for batch in batches for x in batch.inputs]
    assert sorted(seen[:10]) == sorted(seen[10:20]) == list(range(10)) and seen[:10] != seen[10:20]
    assert (
        plain(TrainBatches(numbered(10), 4, Passes(10, 3), 23))
        == plain(batches)
        != plain(TrainBatches(numbered(10), 4, Passes(10, 4), 23))
    )


def test_a_short_batch_has_the_mean_of_its_own_examples() -> None:
    batch = curves(5, 4)
    short = Batch(*(tensor[4:] for tensor in batch[:3]))
    (one,), (alone,) = train(trial(), AtEnd(), [short]).gradients, train(trial(), AtEnd(), [short]).gradients
    tripled = Batch(*(tensor[4:].repeat(3, *[1] * (tensor.ndim - 1)) for tensor in batch[:3]))
    (three,) = train(trial(), AtEnd(), [tripled]).gradients
    assert equal(one, alone)
    for a, b in zip(one, three, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-15)


def test_a_loader_goes_on_from_its_saved_state() -> None:
    expected = plain(TrainBatches(numbered(10), 4, Passes(10, 3), 33))
    for stop in range(len(expected)):
        stopped = TrainBatches(numbered(10), 4, Passes(10, 3), 33)
        before = plain(itertools.islice(iter(stopped), stop))
        after = TrainBatches(numbered(10), 4, Passes(10, 3), 33)
        after.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
        assert before + plain(after) == expected
