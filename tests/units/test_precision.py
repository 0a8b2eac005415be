"""Precision: every cell runs in every one, and a scaled loss changes neither what is reported nor what is clipped."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from by_hand import every_cell, every_kernel, gradients
from torch import Tensor
from trained import AtEnd, EachStep, Stream, Trained, curves, module, text, train, trial

from harness.data.batches import Batch
from harness.engine import run_trial
from harness.models.base import Windows
from harness.models.kernel import kernel_of
from harness.models.layer import Layer
from harness.models.precision import MOST_SKIPS, PRODUCTS, Arithmetic
from harness.training.module import RecurrentModule
from harness.trial import Trial

CELLS = every_cell()
TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "float16-mixed": 0.015, "bfloat16-mixed": 0.05}
"""Of a gradient, relative. Most cells are at 0.0006 and 0.005."""
PRECISIONS = list(TOLERANCE)
every_way = pytest.mark.parametrize(("cell", "fused"), every_kernel(CELLS))
FULL = Windows(None, None, watch=False)


def norm(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(float(t.double().square().sum()) for t in tensors))


def differentiate(loss: Tensor) -> None:
    loss.backward()


def backward(made: RecurrentModule, batch: Batch, windows: Windows) -> Any:
    """One backward pass as an update does it, gradients unscaled."""
    arithmetic = made.arithmetic
    windows = windows._replace(scale=arithmetic.scale)
    with arithmetic.forward():
        done = made.model.backward(batch, made.loss_of, windows, lambda loss: arithmetic.backward(loss, differentiate))
    for weight in made.model.parameters():
        if weight.grad is not None:
            weight.grad /= arithmetic.scale
    return done


def rescaled(made: RecurrentModule, scale: float) -> RecurrentModule:
    if made.arithmetic.scaler is not None:
        made.arithmetic.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return made


def built(cell: str, precision: str, fused: bool) -> RecurrentModule:
    kernel = CELLS[cell].kernels[0] if fused else "loop"
    asked = trial(cell=CELLS[cell].plain(), precision=precision, layers=2, hidden_size=16, kernel=kernel)
    return rescaled(module(asked, AtEnd()), 2.0**6)


@every_way
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_cell_runs_in_it_and_gives_the_gradient_of_float64(cell: str, fused: bool, precision: str) -> None:
    batch = curves(8, 12)
    made = built(cell, precision, fused)
    exact = module(made.trial.model_copy(update={"precision": "float64"}), AtEnd())
    with torch.no_grad():  # of the same weights
        for ours, theirs in zip(exact.parameters(), made.parameters(), strict=True):
            ours.copy_(theirs)
    weights = torch.float64 if precision == "float64" else torch.float32
    assert {p.dtype for p in made.parameters()} == {weights}
    for windows in (FULL, Windows(5, None, False)) if made.model.remembers else (FULL,):
        loss, expected = backward(made, batch, windows).loss, backward(exact, batch, windows).loss
        found, right = gradients(made.model), gradients(exact.model)
        tolerance = TOLERANCE[precision] * (5 if cell == "layernorm-lstm" else 1)  # it divides by small variances
        assert loss == pytest.approx(expected, rel=tolerance)
        assert norm([a.double() - b for a, b in zip(found, right, strict=True)]) < tolerance * norm(right)


@every_way
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_record_names_the_kernel_that_ran_and_its_dtype(cell: str, fused: bool, precision: str) -> None:
    made = built(cell, precision, fused)
    with made.arithmetic.forward():
        name = kernel_of(made.model, [curves(2, 3)])
    dtype = str(PRODUCTS.get(precision, "")).removeprefix("torch.")
    assert name.endswith(f", {dtype}" if dtype else name) and name.count(",") == bool(dtype)
    looped = made.model.kernel == "loop" and made.model.remembers
    assert name.startswith("Python loop") == looped
    if precision in ("float32", "float64") and fused:
        assert not looped or CELLS[cell].kernels == ("loop",)


def test_a_layer_keeps_its_fused_kernel_exactly_where_that_runs() -> None:
    for precision in PRODUCTS:
        made = built("lstm", precision, fused=True)
        batch = curves(2, 3)
        for layer in made.model.modules():
            if isinstance(layer, Layer):
                chosen, layer.kernel = layer.kernel, "fused"
                try:
                    with made.arithmetic.forward():
                        layer(torch.zeros(1, 2, layer.weight_ih.shape[1]), layer.zero_state(1), [2])
                    runs = True
                except RuntimeError:
                    runs = False
                layer.kernel = chosen
                assert chosen == ("fused" if runs else "loop")
        assert math.isfinite(backward(made, batch, FULL).loss)


@pytest.mark.parametrize("precision", PRODUCTS)
@pytest.mark.parametrize("objective", [AtEnd, EachStep])
def test_the_loss_is_computed_in_the_dtype_of_the_weights(precision: str, objective: Any) -> None:
    task = objective()
    made = module(trial(precision=precision), task)
    answers = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)).to(PRODUCTS[precision])
    targets = torch.zeros(6, 2) if objective is AtEnd else torch.ones(6, dtype=torch.int64)
    with made.arithmetic.forward():
        loss = made.loss_of(answers, targets)
    plain = module(trial(precision="float32"), task).loss_of(answers.float(), targets)
    assert loss.dtype == torch.float32 and torch.equal(loss, plain)


@pytest.mark.parametrize("precision", PRODUCTS)
def test_a_stream_carries_its_state_through_16_bits(precision: str) -> None:
    examples = text(40)
    scores = []
    for kind in (precision, "float32"):
        asked = trial(precision=kind, hidden_size=16, learning_rate=1.0, tokens=40, examples=None)
        pieces = [examples.inputs[:, i : i + 10] for i in range(0, 40, 10)]
        batches = [
            Batch(*(torch.from_numpy(a) for a in (x, x)), torch.tensor([10]), torch.tensor([not i]))
            for i, x in enumerate(pieces)
        ]
        scores.append([update.loss for update in train(asked, Stream(), batches).updates])
    assert scores[0] == pytest.approx(scores[1], rel=0.02)


# a scaled loss


def updated(clip: dict[str, float], scale: float = 2.0**16, precision: str = "float16-mixed", **more: Any) -> Trained:
    """One update of plain SGD with step size 1, so that the change of the weights is the gradient that was applied."""

    asked = trial(precision=precision, learning_rate=1.0, hidden_size=16, **clip, **more)
    return train(asked, AtEnd(), [curves(8, 12)], lambda made: rescaled(made, scale))


def step(done: Trained) -> float:
    return norm([a - b for a, b in zip(done.weights[1], done.weights[0], strict=True)])


@pytest.mark.parametrize("scale", [1.0, 2.0**8, 2.0**16])
def test_the_norm_reported_and_the_clip_applied_are_those_of_the_unscaled_gradient(scale: float) -> None:
    truth = updated({}, precision="float32")
    true_norm = truth.updates[0].clipped.before
    assert true_norm == pytest.approx(step(truth), rel=1e-4)
    free = updated({}, scale)
    assert free.updates[0].clipped.before == pytest.approx(true_norm, rel=0.02)
    assert step(free) == pytest.approx(free.updates[0].clipped.before, rel=1e-3)
    above = updated({"clip_norm": 2 * true_norm}, scale)  # of the scaled gradient it would clip
    assert not above.updates[0].clipped.clipped and step(above) == pytest.approx(step(free), rel=1e-6)
    below = updated({"clip_norm": true_norm / 2}, scale)
    assert below.updates[0].clipped.clipped and step(below) == pytest.approx(true_norm / 2, rel=1e-3)
    assert below.observed["clipped_share"] == 1.0
    assert below.observed["gradient_norm_max"] == pytest.approx(true_norm, rel=0.02)
    assert below.observed["gradient_norm_after_median"] == pytest.approx(true_norm / 2, rel=1e-3)


@pytest.mark.parametrize("kind", ["clip_value", "clip_layer_norm", "clip_agc"])
def test_no_kind_of_clipping_depends_on_the_scale(kind: str) -> None:
    one, many = (updated({kind: 0.01}, scale) for scale in (1.0, 2.0**12))
    assert one.updates[0].clipped.after == pytest.approx(many.updates[0].clipped.after, rel=0.02)
    assert step(one) == pytest.approx(step(many), rel=0.02)


@pytest.mark.parametrize("scale", [1.0, 2.0**16])
def test_the_gradient_by_lag_is_unscaled(scale: float) -> None:
    truth, found = updated({}, precision="float32").updates[0].gradient, updated({}, scale).updates[0].gradient
    assert truth is not None and found is not None and truth[0] == found[0]
    torch.testing.assert_close(found[1], truth[1], rtol=0.05, atol=0.0)


def test_a_scale_that_is_too_large_is_lowered_and_no_divergence() -> None:
    batches = [curves(8, 12, seed) for seed in range(24)]
    asked = trial(precision="float16-mixed", hidden_size=16)
    done = train(asked, AtEnd(), batches, lambda made: rescaled(made, 2.0**30))
    skipped = [update.skipped for update in done.updates]
    count = sum(skipped)
    assert skipped[:5] == [True] * 5 and not skipped[-1] and count < MOST_SKIPS
    assert done.module.failure is None and done.observed["skipped_updates"] == count
    assert done.module.arithmetic.scale == 2.0 ** (30 - count)
    for before, after, left_out in zip(done.weights, done.weights[1:], skipped, strict=False):
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)) == left_out
    assert math.isfinite(done.observed["gradient_norm_median"])
    assert math.isnan(done.observed["update_ratio_median"])  # the sampled updates, the first 5, changed nothing


def far(size: float) -> Batch:
    """Targets so far away that the gradient of the answers, twice the error, does not fit into float16."""
    batch = curves(4, 5)
    return batch._replace(targets=torch.full_like(batch.targets, size))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_an_overflow_that_no_scale_cures_is_a_divergence(optimizer: str) -> None:
    asked = trial(precision="float16-mixed", hidden_size=16, optimizer=optimizer)
    done = train(asked, AtEnd(), [far(1e6)] * 30)
    failure = done.module.failure
    assert failure is not None and failure.layer == "head"
    assert failure.reason.startswith("the gradient") and "not finite" in failure.reason
    assert failure.update == len(done.updates) == 17  # 2^16 halved down to 1, and there is nothing left to lower
    assert done.observed["skipped_updates"] == 16
    assert all(torch.equal(a, b) for a, b in zip(done.weights[0], done.weights[-1], strict=True))


def test_a_loss_that_is_not_finite_is_no_fault_of_the_scale() -> None:
    batch = curves(4, 5)
    batch.inputs[1, 3, 0] = 1e6  # beyond float16
    done = train(trial(precision="float16-mixed", cell={"name": "elman", "activation": "relu"}), AtEnd(), [batch] * 3)
    failure = done.module.failure
    assert failure is not None and failure.update == 1 and not done.updates[0].skipped
    assert "loss" in failure.reason


def test_so_many_overflows_in_a_row_are_enough_at_any_scale() -> None:
    arithmetic = Arithmetic("float16-mixed", "cpu")
    assert [arithmetic.skips(finite=False) for _ in range(MOST_SKIPS)] == [True] * (MOST_SKIPS - 1) + [False]
    assert not arithmetic.skips(finite=True) and arithmetic.skips(finite=False)
    for precision in ("float32", "bfloat16-mixed"):  # nothing is scaled, so nothing can be lowered
        assert not Arithmetic(precision, "cpu").skips(finite=False) and Arithmetic(precision, "cpu").scale == 1.0


@pytest.mark.parametrize(
    ("precision", "cell"),
    [("float64", "lstm"), ("bfloat16-mixed", "lstm"), ("bfloat16-mixed", "feedforward"), ("float16-mixed", "gru")],
)
def test_a_trial_runs_in_it_from_end_to_end(precision: str, cell: str) -> None:
    task = {"name": "digits", "steps": 8}
    asked = Trial(task=task, cell={"name": cell}, hidden_size=16, examples=2_000, precision=precision, clip_norm=1.0)
    asked = asked.model_copy(update={"learning_rate": 0.02, "evaluations": 1})
    record = run_trial(asked)
    assert record.status == "ok", record.traceback
    assert record.score > 0.2 > record.floor and np.isfinite(record.train_loss) and record.skipped_updates < 5
    assert repr(record.without_times()) == repr(run_trial(asked).without_times())
