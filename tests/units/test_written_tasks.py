"""Reversal, countdown and spirals hold what they say, and their floors are what a guess really gets."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from harness.tasks.base import END
from harness.tasks.countdown import Countdown
from harness.tasks.reversal import Reversal
from harness.tasks.spirals import Spirals

REVERSALS = [{}, {"length": 5, "shortest": 5, "symbols": 3}, {"length": 4, "symbols": 1}, {"length": 1}]


def rows(task: Any) -> Any:
    """Yield (real inputs, due targets) of the test split."""
    examples = task.load("test", 0)
    for inputs, targets, length in zip(examples.inputs, examples.targets, examples.lengths, strict=True):
        yield inputs[:length], targets[targets != -100].tolist()


@pytest.mark.parametrize("settings", REVERSALS)
def test_a_reversal_ends_after_the_symbols_in_reverse(settings: dict[str, int]) -> None:
    task = Reversal(**settings)
    found = list(rows(task))
    for inputs, targets in found:
        assert targets == [*inputs[::-1].tolist(), END]
        assert END not in inputs
    assert {len(inputs) for inputs, _ in found} == set(range(min(task.shortest, task.length), task.length + 1))


def test_a_countdown_steps_down_by_its_stride_while_positive() -> None:
    task = Countdown()
    for inputs, targets in rows(task):
        number, stride = inputs[0, : task.largest].argmax() + 1, inputs[0, task.largest :].argmax() + 1
        assert inputs.sum() == 2
        assert targets == [*range(number - stride, 0, -stride), END]


def test_spirals_of_no_noise_lie_on_their_curves() -> None:
    examples = Spirals(turns=1.5, noise=0.0).load("test", 0)
    x, y = examples.inputs[:, 0].T / 2
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    off = (angle - 2 * np.pi * 1.5 * radius - np.pi * examples.targets + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(off[radius > 0.01]).max() < 1e-3
    assert abs(examples.targets.mean() - 0.5) < 0.04
    assert np.abs(examples.inputs.var((0, 1)) - 1).max() < 0.1


@pytest.mark.parametrize("settings", REVERSALS)
def test_the_floor_of_reversal_is_the_best_fixed_sequence_by_count(settings: dict[str, int]) -> None:
    task = Reversal(**settings, test_examples=20_000)
    targets = task.load("test", 0).targets
    scores = []
    for stop in range(targets.shape[1]):
        right = sum(max((targets[:, u] == c).sum() for c in range(1, task.symbols + 1)) for u in range(stop))
        scores.append(int(right + (targets[:, stop] == END).sum()) / (targets != -100).sum())
    assert task.floor() == pytest.approx(max(scores), abs=0.01)


@pytest.mark.parametrize(("largest", "strides"), [(20, 3), (1, 1), (2, 1), (5, 5)])
def test_the_floor_of_countdown_is_the_commonest_answer_by_count(largest: int, strides: int) -> None:
    answers = [(*range(n - s, 0, -s), END) for n, s in product(range(1, largest + 1), range(1, strides + 1))]
    commonest = max(answers.count(answer) for answer in answers)
    assert Countdown(largest=largest, strides=strides).floor() == pytest.approx(commonest / len(answers))


@pytest.mark.parametrize("task", [Reversal(), Countdown(), Spirals()], ids=lambda task: task.plugin_name())
def test_only_the_training_split_depends_on_the_seed(task: Any) -> None:
    for split in ("train", "valid", "test"):
        once, again, other = (task.load(split, seed).sha256() for seed in (1, 1, 2))
        assert once == again
        assert (once == other) == (split != "train")
    assert len({task.load(split, 0).sha256() for split in ("train", "valid", "test")}) == 3
