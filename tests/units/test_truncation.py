"""Truncation bias: exact at full length, equal to unrolling by hand, and telling networks that forget from others."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.data.batches import Batch
from harness.models.base import Windows
from harness.models.build import build_model
from harness.models.objectives import LOSSES
from harness.models.truncation import lengths_to_try, truncation_bias
from harness.models.unroll import plan
from harness.tasks.base import Examples, Shape, Task
from harness.trial import Trial

STEPS, BATCH = 12, 5


class Each(Task):
    """A number is due at every step."""

    mapping = "many-to-many"
    objective = "mse"
    metric = "mse"

    @property
    def shape(self):
        return Shape(steps=STEPS, features=2, outputs=1)

    def load(self, split, seed):
        rng = np.random.default_rng(seed)
        inputs = rng.standard_normal((BATCH, STEPS, 2)).astype(np.float32)
        targets = rng.standard_normal((BATCH, STEPS, 1)).astype(np.float32)
        return Examples(inputs, targets, np.full(BATCH, STEPS))

    def floor(self):
        return 1.0


class Last(Each):
    """A number is due at the end."""

    mapping = "many-to-one"

    def load(self, split, seed):
        full = super().load(split, seed)
        return Examples(full.inputs, full.targets[:, -1], full.lengths)


MSE = LOSSES["mse"]


def make(task: Task, cell: str = "elman", **settings):
    """A model in float64 and a batch of the task's."""
    plain = {"hidden_size": 6, "precision": "float64", "examples": 1, **settings}
    trial = Trial(task={"name": "adding"}, cell={"name": cell}, **plain)
    return build_model(trial, task, trial.build_cell()), Batch.of(task.load("train", 0), np.arange(BATCH))


def by_hand(model, batch: Batch, windows: list[tuple[int, int, int]]) -> dict[str, Tensor]:
    """Gradient of an Elman network's mean squared error, the loss of [fresh, stop) reaching back to `begin`."""
    layer, loss = model.stack.rows[0][0], torch.zeros(()).double()
    each_step = batch.targets.ndim == 3
    for begin, fresh, stop in windows:
        h_BH = torch.zeros(BATCH, 6).double()
        for t in range(stop):
            h_BH = h_BH.detach() if t == begin else h_BH
            wx_BH = batch.inputs[:, t].double() @ layer.weight_ih.T + layer.bias_ih
            h_BH = (wx_BH + h_BH @ layer.weight_hh.T + layer.bias_hh).tanh()
            if t >= fresh and (each_step or t == STEPS - 1):
                target = batch.targets[:, t] if each_step else batch.targets
                loss = loss + (h_BH @ model.head.weight.T + model.head.bias - target).square().sum()
    names = dict(model.named_parameters())
    grads = torch.autograd.grad(loss / batch.targets.numel(), list(names.values()))
    return dict(zip(names, grads, strict=True))


@pytest.mark.parametrize("task", [Each(), Last()], ids=["each", "last"])
@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
@pytest.mark.parametrize("both", [False, True], ids=["forward", "both"])
def test_windows_as_long_as_the_sequence_lose_nothing_at_all(task, cell, both):
    model, batch = make(task, cell, layers=2, bidirectional=both)
    for bias in truncation_bias(model, batch, MSE, [STEPS, STEPS + 1, 1000]):
        assert bias[1:] == (1, 1, 1, 1)


@pytest.mark.parametrize(("task", "length"), [(Each(), 1), (Each(), 4), (Each(), 5), (Last(), 5), (Last(), 6)])
def test_it_is_the_gradient_unrolled_by_hand(task, length):
    model, batch = make(task)
    windows = plan(STEPS, Windows(length, None, False), due_at_end=isinstance(task, Last))
    full, cut = by_hand(model, batch, [(0, 0, STEPS)]), by_hand(model, batch, windows)
    (bias,) = truncation_bias(model, batch, MSE, [length])
    for found, names in (
        ((bias.cosine, bias.norm_ratio), [name for name in full if name.startswith("stack")]),
        ((bias.cosine_all, bias.norm_ratio_all), list(full)),
    ):
        a_P, b_P = (torch.cat([grads[name].flatten() for name in names]) for grads in (cut, full))
        expected = float(torch.cosine_similarity(a_P, b_P, 0)), float(a_P.norm() / b_P.norm())
        assert found == pytest.approx(expected, rel=1e-12)
    assert bias.cosine < 0.9999


def with_memory(radius: float):
    """An Elman network whose recurrent matrix is `radius` times a rotation, in the linear part of tanh."""
    model, batch = make(Last())
    layer = model.stack.rows[0][0]
    with torch.no_grad():
        layer.weight_hh.copy_(radius * torch.linalg.qr(layer.weight_hh).Q)
        for weight in (layer.weight_ih, layer.bias_ih, layer.bias_hh):
            weight *= 0.1
    return truncation_bias(model, batch, MSE, [1, 2, 4, 8])


def test_a_network_that_forgets_loses_little_and_one_that_remembers_a_lot():
    forgets, remembers = with_memory(0.1), with_memory(0.99)
    assert forgets[1].cosine > 0.99 and forgets[2].cosine > 0.99999
    assert abs(forgets[2].norm_ratio - 1) < 1e-3
    assert remembers[2].norm_ratio < 0.8 and remembers[2].cosine < 0.9
    for first, second in pairwise(forgets):
        assert second.cosine >= first.cosine  # longer windows are nearer


def test_nothing_of_training_is_disturbed():
    model, batch = make(Each(), "lstm", layers=2, dropout=0.5)
    kept = [torch.full_like(p, i) for i, p in enumerate(model.parameters())]
    for p, grad in zip(model.parameters(), kept, strict=True):
        p.grad = grad
    before, state = [p.clone() for p in model.parameters()], torch.get_rng_state()
    model.carried = {True: ["what a stream carries"]}
    first = truncation_bias(model, batch._replace(resets=torch.ones(BATCH, dtype=torch.bool)), MSE, [1, 4])
    assert first == truncation_bias(model, batch, MSE, [1, 4])  # no draw of dropout in it
    assert model.training and model.carried == {True: ["what a stream carries"]}
    assert torch.equal(torch.get_rng_state(), state)
    for p, grad, value in zip(model.parameters(), kept, before, strict=True):
        assert p.grad is grad and torch.equal(p, value)
    assert all(float(grad.mean()) == i for i, grad in enumerate(kept))


def test_a_network_without_state_has_no_truncation():
    model, batch = make(Each(), "feedforward")
    assert all(bias[1:] == (1, 1, 1, 1) for bias in truncation_bias(model, batch, MSE, [1, 4]))


def test_no_gradient_is_nan_and_a_lost_one_is_zero():
    model, batch = make(Last())
    with torch.no_grad():
        model.head.weight.zero_()  # nothing reaches the layers
    (bias,) = truncation_bias(model, batch, MSE, [4])
    assert math.isnan(bias.cosine) and math.isnan(bias.norm_ratio)
    assert bias.cosine_all == 1
    nothing_due = batch._replace(targets=torch.full_like(batch.targets, torch.nan))
    assert math.isnan(truncation_bias(model, nothing_due, MSE, [4])[0].cosine_all)


@pytest.mark.parametrize(
    ("steps", "own", "expected"),
    [
        (64, None, [2, 4, 8, 16, 32]),
        (64, 10, [2, 4, 8, 10, 16, 32]),
        (64, 64, [2, 4, 8, 16, 32]),
        (200, 3, [3, 8, 16, 32, 64, 128]),
        (1, None, []),
        (2, 1, [1]),
    ],
)
def test_lengths_are_few_and_hold_the_trials_own(steps, own, expected):
    assert lengths_to_try(steps, own) == expected
