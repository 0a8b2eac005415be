"""Values that are not due, in answers of several values: neither loss, nor gradient, nor score, nor the control sees
them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import registry
from harness.data.batches import Batch
from harness.data.control import shuffled
from harness.models.objectives import mse
from harness.models.scoring import score
from harness.tasks.base import Examples
from harness.training.module import RecurrentModule
from harness.trial import Trial

MAPPINGS = ("many-to-one", "many-to-many")
HORIZON = 8


def build(mapping, **more):
    settings = {"data": "co2", "lookback": 8, "horizon": HORIZON, "mapping": mapping, **more}
    return registry.build("task", {"name": "timeseries", **settings})


def batch_with_gaps(mapping):
    """Windows of a series of which weeks are missing."""
    examples = build(mapping).load("train", 0)
    some = np.isnan(examples.targets).reshape(len(examples), -1).any(1)
    index = np.concatenate([np.flatnonzero(some)[:20], np.flatnonzero(~some)[:12]])
    return Batch.of(examples, index)


def module_of(mapping, **more):
    trial = Trial(task={"name": "any"}, cell={"name": "gru"}, hidden_size=5, examples=1, precision="float64", **more)
    return RecurrentModule(trial, build(mapping), trial.build_cell())


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_loss_and_gradient_are_those_of_the_mean_over_what_is_due(mapping):
    module, batch = module_of(mapping), batch_with_gaps(mapping)
    due = ~batch.targets.isnan()
    assert not due.all() and due.flatten(1).any(1).all()
    from harness.models.base import Windows

    found = module.model.backward(batch, mse, Windows(None, None, False), torch.Tensor.backward)
    gradients = {name: weight.grad.clone() for name, weight in module.model.named_parameters()}
    module.model.zero_grad()
    answers, targets = module.model.answer(batch)
    loss = (answers[due] - targets[due].double()).square().mean()
    loss.backward()
    assert found.loss == pytest.approx(loss.item(), rel=1e-12)
    for name, weight in module.model.named_parameters():
        torch.testing.assert_close(gradients[name], weight.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_scores_are_over_what_is_due(mapping):
    module, batch = module_of(mapping), batch_with_gaps(mapping)
    answers, targets = module.model.answer(batch)
    error = float(np.nanmean((answers.detach().numpy() - targets.double().numpy()) ** 2))
    for name, wanted in (("mse", error), ("skill", 1 - error / module.task.floor())):
        one = score(name, module.task)
        for half in (slice(0, 20), slice(20, 32)):
            one.update(answers[half].detach(), targets[half])
        assert float(one.compute()) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_the_last_value_again_has_a_skill_of_0(mapping):
    task = build(mapping, values="offsets")
    targets = torch.from_numpy(np.array(task.load("test", 0).targets))
    skill = score("skill", task)
    skill.update(torch.zeros_like(targets), targets)
    assert float(skill.compute()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("lookback", [HORIZON, HORIZON + 1])
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_the_control_deals_out_values_and_leaves_none_where_it_was(mapping, lookback):
    task = build(mapping, lookback=lookback)
    examples = task.load("train", 0)
    control = shuffled(examples, task, 1)
    before, after = (each.targets.reshape(-1, HORIZON) for each in (examples, control))
    for column in range(HORIZON):
        known = [np.sort(values[:, column][~np.isnan(values[:, column])]) for values in (before, after)]
        assert (known[0] == known[1]).all(), "the same values of each column"
    moved = (before != after)[~np.isnan(before) & ~np.isnan(after)]
    assert moved.mean() > 0.99
    if mapping == "many-to-many":
        assert (np.isnan(before) == np.isnan(after)).all(), "due where it was"
    else:
        assert sorted(map(tuple, np.nan_to_num(before))) == sorted(map(tuple, np.nan_to_num(after))), "whole answers"


def test_whole_steps_stay_together_where_all_of_them_is_due():
    task = build("many-to-many")
    rng = np.random.default_rng(0)
    targets = rng.random((6, 8, 2)).astype(np.float32)
    targets[0, 0, 0] = targets[3, 2, 1] = np.nan
    examples = Examples(np.zeros((6, 8, 1), np.float32), targets, np.full(6, 8))
    control = shuffled(examples, task, 1).targets
    whole = ~np.isnan(targets).any(2)
    assert sorted(map(tuple, targets[whole])) == sorted(map(tuple, control[whole]))
