"""The parameters that are counted without torch are those of the model that torch builds, weight by weight."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from by_hand import every_cell

from harness import cost, registry
from harness.engine import run_trial
from harness.models.build import MODELS, build_model
from harness.tasks._prepared import PreparedTask
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
    both, attention = (False, True), ({}, {"attention": "dot"}, {"attention": "dot", "pointer": True})
    for layers, directions, attends in itertools.product((1, 2, 3), both, attention if written else attention[:1]):
        settings: dict[str, Any] = {"embedding_size": 5 if layers == 2 else None}
        settings |= {"layers": layers, "bidirectional": directions, "hidden_size": 3, **attends}
        agree(Trial(task={"name": task}, cell=CELLS[cell], examples=1, **settings))


@pytest.mark.data
@pytest.mark.parametrize(
    "settings", [{}, {"bidirectional": True, "layers": 2, "embedding_size": 5}], ids=["one", "two"]
)
def test_what_stands_behind_the_head_is_counted(settings: dict[str, Any]) -> None:
    """The transitions between tags of a conditional random field."""
    agree(Trial(task={"name": "ner", "output": "crf"}, cell={"name": "gru"}, hidden_size=3, examples=1, **settings))


REAL = [
    name
    for name, kind in registry.members("harness.tasks").items()
    if issubclass(kind, PreparedTask) and not kind.stream
]


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("batch_size", [1, 32, 500])
def test_what_an_update_is_said_to_hold_is_what_batches_of_real_data_hold(name: str, batch_size: int) -> None:
    """Real sentences are a fraction as long as the longest: a forecast from the longest is several times too dear."""
    task = registry.build("task", {"name": name})
    train, said = task.load("train", 0), task.usual(batch_size, together=False)
    rows = np.random.default_rng(0).integers(0, len(train), (300, batch_size))
    parts = [(train.lengths, said.read, said.read_padded)]
    if task.written:
        parts.append(((train.targets != -100).sum(1), said.written, said.written_padded))
    for counts, mean, longest in parts:
        assert mean == pytest.approx(counts.mean())
        assert longest == pytest.approx(counts[rows].max(1).mean(), rel=0.03)
    together = task.usual(batch_size, together=True)
    assert (together.read_padded, together.written_padded) == (together.read, together.written)


def test_tokens_that_are_forecast_are_those_that_are_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for split, count in (("train", 200), ("valid", 5), ("test", 5)):
        texts = [" ".join(["word"] * int(n)) + f"\t{n % 2}" for n in rng.geometric(0.1, count)]
        (tmp_path / "own").mkdir(exist_ok=True)
        (tmp_path / "own" / f"{split}.tsv").write_text("\n".join(texts))
    task = {"name": "sentiment", "data": str(tmp_path / "own")}
    plain = Trial(task=task, cell={"name": "gru"}, hidden_size=2, examples=1_000, evaluations=1)
    assert cost.estimate(plain).tokens == pytest.approx(run_trial(plain).tokens, rel=0.03)
    by_tokens = plain.model_copy(update={"examples": None, "tokens": 5_000})
    assert cost.estimate(by_tokens).updates == pytest.approx(run_trial(by_tokens).updates, rel=0.05)
