"""The parameters that are counted without torch are those of the model that torch builds, weight by weight."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from by_hand import every_cell

from harness import cost, registry
from harness.models.build import MODELS, build_model
from harness.trial import Trial

CELLS = {name: cell.plain() for name, cell in every_cell().items()}
TASKS = ("adding", "delayed-recall", "digits", "spirals", "countdown", "reversal")
"""Every mapping, tokens and features; without data on disk."""


def agree(trial: Trial) -> None:
    """Hold the declared shapes against the model's own."""
    model = build_model(trial, trial.build_task(), trial.build_cell())
    held = sorted(tuple(weight.shape) for weight in model.parameters())
    assert sorted(cost.weight_shapes(trial).values()) == held
    assert cost.parameters(trial) == sum(weight.numel() for weight in model.parameters())


def test_the_tasks_here_have_every_mapping() -> None:
    assert {registry.lookup("task", name).mapping for name in TASKS} == MODELS.keys()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("task", TASKS)
def test_the_weights_counted_are_those_of_the_model(task: str, cell: str) -> None:
    written = Trial(task={"name": task}, cell={"name": "elman"}, examples=1).build_task().written
    both, attention = (False, True), ("none", "dot") if written else ("none",)
    for layers, directions, attends in itertools.product((1, 2, 3), both, attention):
        settings: dict[str, Any] = {"embedding_size": 5 if layers == 2 else None}
        settings |= {"layers": layers, "bidirectional": directions, "attention": attends, "hidden_size": 3}
        agree(Trial(task={"name": task}, cell=CELLS[cell], examples=1, **settings))


@pytest.mark.data
@pytest.mark.parametrize(
    "settings", [{}, {"bidirectional": True, "layers": 2, "embedding_size": 5}], ids=["one", "two"]
)
def test_what_stands_behind_the_head_is_counted(settings: dict[str, Any]) -> None:
    """The transitions between tags of a conditional random field."""
    agree(Trial(task={"name": "ner", "output": "crf"}, cell={"name": "gru"}, hidden_size=3, examples=1, **settings))
