"""Two updates of every cell and of every task leave a whole record: each advertised number is there, or cannot be."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest
from by_hand import every_cell

from harness import registry
from harness.engine import run_trial
from harness.metrics import METRICS
from harness.models.build import MODELS
from harness.record import Record
from harness.tasks._prepared import PreparedTask
from harness.trial import Trial

CELLS = every_cell()
TASKS = registry.members("harness.tasks")
SMALL: dict[str, dict[str, Any]] = {
    "one-to-one": {"name": "spirals"},
    "one-to-many": {"name": "countdown", "largest": 6, "strides": 2, "test_examples": 20},
    "many-to-one": {"name": "digits", "steps": 8},
    "many-to-many": {"name": "delayed-recall", "delay": 4, "recalls": 4, "test_examples": 20},
    "encoder-decoder": {"name": "reversal", "length": 5, "symbols": 4, "test_examples": 20},
}
"""A task of each mapping."""
SHORT: dict[str, dict[str, Any]] = {"chatbot": {"turns": 1, "longest": 10, "longest_answer": 5}}
"""Sizes of tasks on real data whose evaluation takes minutes at their default."""
ADVERTISED = METRICS.keys() & {field.name for field in dataclasses.fields(Record)}
THROUGH_TIME = {"gradient_decay", "gradient_horizon", "predicted_decay"}
"""What no trial has whose network carries nothing, or whose sequences are one step."""
OF_SEVERAL = {"speed_up", "scaling_efficiency"}
"""What no trial of one worker has (tests/units/test_own_scaling.py)."""
CYCLE = list(zip(TASKS, itertools.cycle(CELLS), itertools.cycle(["bfloat16-mixed", "float64"]), strict=False))
REAL = {name for name, kind in TASKS.items() if issubclass(kind, PreparedTask)}


def two_updates(task: dict[str, Any], cell: str, **more: Any) -> Record:
    budget = {"tokens": 2 * 4 * 5, "bptt_length": 5} if registry.build("task", task).stream else {"examples": 8}
    plain = {"hidden_size": 4, "embedding_size": 4, "batch_size": 4, "evaluations": 1, **budget, **more}
    trial = Trial(task=task, cell=CELLS[cell].plain(), **plain)
    trial.check()
    record = run_trial(trial)
    assert (record.status, record.reason) == ("ok", ""), record.traceback
    # a stream whose documents begin with a step that is not due makes one more for as many due ones
    assert record.updates == 2 or (trial.build_task().document and record.updates == 3)
    return record


def whole(record: Record, cell: str) -> None:
    """Hold a record to what METRICS advertises."""
    trial = Trial.from_canonical(record.trial)
    missing = {name for name in ADVERTISED if math.isnan(getattr(record, name))}
    steps = max(record.gradient_lags, default=0)
    assert missing <= OF_SEVERAL | (set() if CELLS[cell].states and steps > 1 else THROUGH_TIME)
    assert math.isfinite(record.score) and all(math.isfinite(value) for value in record.also_scores)
    assert record.also_names == list(trial.build_task().also)
    assert math.isfinite(record.valid_score) and math.isfinite(record.floor)
    assert record.activation_bytes > 0 and record.parameters > 0 and record.kernel and record.verdict
    assert bool(record.gradient_lags) == bool(CELLS[cell].states)
    if CELLS[cell].states:
        assert record.gradient_lags[0] == 0 and record.gradient_by_lag[0] > 0
        assert len(record.gradient_decay_by_layer) == len(record.gradient_horizon_by_layer) == trial.layers


def test_there_is_a_task_of_each_mapping() -> None:
    assert SMALL.keys() == MODELS.keys()
    assert all(registry.build("task", task).mapping == mapping for mapping, task in SMALL.items())


@pytest.mark.parametrize("mapping", SMALL)
@pytest.mark.parametrize("cell", CELLS)
def test_of_every_cell(cell: str, mapping: str) -> None:
    whole(two_updates(SMALL[mapping], cell, layers=2, clip_norm=1.0), cell)


@pytest.mark.parametrize(("name", "cell", "precision"), [row for row in CYCLE if row[0] not in REAL])
def test_of_every_task_that_is_drawn(name: str, cell: str, precision: str) -> None:
    for kind in (precision, "float32"):
        whole(two_updates({"name": name}, cell, precision=kind), cell)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "cell", "precision"), [row for row in CYCLE if row[0] in REAL])
def test_of_every_task_on_real_data(name: str, cell: str, precision: str) -> None:
    whole(two_updates({"name": name, **SHORT.get(name, {})}, cell, precision=precision), cell)
