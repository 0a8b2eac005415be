"""Small trainings: a task of given numbers, a module trained on them by Lightning, and what each update left."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from harness.data.batches import Batch
from harness.data.groups import Groups
from harness.probes.norms import Norms
from harness.probes.panel import Panel
from harness.probes.through_time import ThroughTime
from harness.probes.update_ratio import UpdateRatio
from harness.tasks.base import Examples, Shape, Task
from harness.training.module import RecurrentModule, Update
from harness.trial import Trial


class EachStep(Task):
    """Answer at each step: classes of tokens."""

    mapping: ClassVar = "many-to-many"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "bits_per_character"
    symbols: int = 5

    @property
    def shape(self):
        return Shape(steps=1_000, outputs=self.symbols, vocabulary=self.symbols)

    def load(self, split, seed):
        raise NotImplementedError

    def floor(self):
        return 0.0


class Stream(EachStep):
    """The same, carried from batch to batch."""

    stream: ClassVar = True


class AtEnd(EachStep):
    """Answer at the end: values of features."""

    mapping: ClassVar = "many-to-one"
    objective: ClassVar = "mse"
    metric: ClassVar = "mse"

    @property
    def shape(self):
        return Shape(steps=1_000, outputs=2, features=3)


def trial(**changes: Any) -> Trial:
    """A small trial in float64 whose task is given elsewhere."""
    plain = {"task": {"name": "digits"}, "cell": {"name": "lstm"}, "hidden_size": 4, "examples": 1}
    return Trial(**{**plain, "precision": "float64", "optimizer": "sgd", "learning_rate": 0.1, **changes})


def text(*lengths: int, symbols: int = 5, seed: int = 0) -> Examples:
    """Documents of random symbols and what follows each of them."""
    rng, longest = np.random.default_rng(seed), max(lengths)
    inputs, targets = np.zeros((len(lengths), longest), np.int64), np.full((len(lengths), longest), -100)
    for row, length in enumerate(lengths):
        drawn = rng.integers(0, symbols, length + 1)
        inputs[row, :length], targets[row, :length] = drawn[:-1], drawn[1:]
    return Examples(inputs, targets, np.array(lengths))


def curves(examples: int, steps: int, seed: int = 0) -> Batch:
    """A batch of random features (B, T, 3) with two values to answer."""
    rng = np.random.default_rng(seed)
    inputs, targets = rng.normal(size=(examples, steps, 3)), rng.normal(size=(examples, 2))
    return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), torch.full((examples,), steps))


@dataclass
class Trained:
    """A module after training: each update, the weights before the first and after each, and what the probes say."""

    module: RecurrentModule
    updates: list[Update] = field(default_factory=list)
    weights: list[list[Tensor]] = field(default_factory=list)
    gradients: list[list[Tensor]] = field(default_factory=list)
    observed: dict[str, Any] = field(default_factory=dict)


class _Given:
    """A loader of given batches; Lightning would take a list for several loaders."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


class _Notes(pl.Callback):
    def __init__(self, notes: Trained) -> None:
        self.notes = notes

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.notes.weights.append([p.detach().clone() for p in pl_module.parameters()])

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        self.notes.updates.append(pl_module.last)
        self.notes.weights.append([p.detach().clone() for p in pl_module.parameters()])
        self.notes.gradients.append([p.grad.clone() for p in pl_module.parameters() if p.grad is not None])


def module(asked: Trial, task: Task) -> RecurrentModule:
    """A module that has not been trained."""
    return RecurrentModule(asked, task, asked.build_cell())


def train(
    asked: Trial,
    task: Task,
    batches: Iterable[Batch],
    change: Callable[[RecurrentModule], Any] | None = None,
    watch: Sequence[pl.Callback] = (),
) -> Trained:
    """Train on these batches, watched by the probes of single updates; `change` the module before."""
    notes = Trained(module(asked, task))
    if change is not None:
        change(notes.module)
    probes = [Norms(asked), ThroughTime(asked), UpdateRatio(asked)]
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, max_epochs=1, callbacks=[Panel([*probes, _Notes(notes), *watch])], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"pytorch_lightning")  # no validation here, few batches, no workers
        trainer.fit(notes.module, Groups(_Given(list(batches)), evaluations=1))
    for probe in probes:
        notes.observed |= probe.observed()
    return notes
