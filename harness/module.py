"""The LightningModule: windows, loss, backward, clipping, update; and what it leaves for the probes to read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from harness.cells.base import Cell
from harness.data.batches import Batch
from harness.models.base import Windows
from harness.models.build import build_model
from harness.models.clipping import Clipped, clip
from harness.models.diagnose import first_non_finite, largest_gradient
from harness.models.objectives import LOSSES, score
from harness.models.precision import Arithmetic, choose_kernels
from harness.tasks.base import Task
from harness.trial import Trial

EXPLOSION = 1_000
"""A loss this many times the first one has exploded, although every number is still finite."""


@dataclass(frozen=True)
class Failure:
    """The first non-finite or exploded value: at which update, in which layer, at which time step, and why."""

    update: int
    layer: str
    step: int | None
    reason: str


@dataclass(frozen=True)
class Update:
    """What one update did. `gradient`: (lags, norms (layers, lags)) where the update was watched."""

    loss: float
    clipped: Clipped
    skipped: bool  # left out: the gradient overflowed under a scaled loss (float16), which is lowered
    tokens: int
    padded_tokens: int
    examples: int
    gradient: tuple[list[int], Tensor] | None


class RecurrentModule(pl.LightningModule):
    """Trains the model of a task by windows of backpropagation through time.

    Manual optimisation: an update may need several backward passes, and the norm must be seen before clipping.
    """

    def __init__(self, trial: Trial, task: Task, cell: Cell) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.trial, self.task = trial, task
        self.arithmetic = Arithmetic(trial.precision, device="cpu")
        self.model = build_model(trial, task, cell)
        choose_kernels(self.model, self.arithmetic)
        self.loss_of = self.arithmetic.exact(LOSSES[task.objective])
        self.watch = False  # set by a probe: measure the gradient through time in this update
        self.last: Update | None = None
        self.failure: Failure | None = None
        self.updates = self.scored_at = 0
        self.before_update: list[Callable[..., None]] = []  # by the panel of probes
        self.after_update: list[Callable[..., None]] = []
        self.score = score(task.metric, task.shape)
        self._first_loss: float | None = None
        self._named_parameters = list(self.model.named_parameters())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam (Kingma and Ba, arXiv:1412.6980) or plain SGD, in torch's fused form."""
        kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[self.trial.optimizer]
        return kind(self.model.parameters(), lr=self.trial.learning_rate, fused=True)

    def training_step(self, group: Iterable[Batch], index: int) -> None:
        """A group of updates, one after the other; the first failure ends it and training."""
        for batch in group:
            number, batch = self.updates, self.transfer_batch_to_device(batch, self.device, 0)
            for call in self.before_update:
                call(self.trainer, self, batch, number)
            self._update(batch)
            for call in self.after_update:
                call(self.trainer, self, None, batch, number)
            if self.failure is not None:
                break

    def _update(self, batch: Batch) -> None:
        """One update: all windows of the batch, then clip and step. A non-finite or exploded value ends training."""
        optimizer: Any = self.optimizers(use_pl_optimizer=False)  # its wrapper counts steps that we count ourselves
        optimizer.zero_grad()
        # a batch of a stream is one window already
        reach = (None, None) if self.task.stream else (self.trial.bptt_length, self.trial.bptt_stride)
        with self.arithmetic.forward():
            windows = Windows(*reach, self.watch, self.arithmetic.scale)
            found = self.model.backward(batch, self.loss_of, windows, self._backward)
        loss, gradient = found.loss, found.gradient
        self.arithmetic.unscale(optimizer)
        done = clip(self._named_parameters, self.trial)
        self.updates += 1
        if self._first_loss is None:
            self._first_loss = loss
        skipped = math.isfinite(loss) and self.arithmetic.skips(done.finite)
        self.failure = None if skipped else self._fault(batch, loss, done)
        tokens, padded = self.model.steps(batch)
        self.last = Update(loss, done, skipped, tokens, padded, len(batch.inputs), gradient)
        if self.failure is not None:
            self.trainer.should_stop = True  # before the step: the weights stay as they were
        elif not skipped:
            optimizer.step()
        self.arithmetic.adjust()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Lightning walks every field of a batch to move it; on a CPU there is nothing to move, and a group of updates
        is moved one by one."""
        if device.type == "cpu" or not isinstance(batch, Batch):
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def _backward(self, loss: Tensor) -> None:
        self.arithmetic.backward(loss, self.manual_backward)

    def _fault(self, batch: Batch, loss: float, done: Clipped) -> Failure | None:
        """Name the first thing wrong with this update, if anything is."""
        if loss == loss and abs(loss) < float("inf") and done.finite:
            limit = EXPLOSION * max(abs(self._first_loss or 0.0), 1e-6)
            if loss <= limit:
                return None
            reason = f"loss {loss:.4g} is over {EXPLOSION:,} times the first loss, {self._first_loss:.4g}"
            return Failure(self.updates, largest_gradient(self.model), None, reason)
        with self.arithmetic.forward():
            layer, step, what = first_non_finite(self.model, batch)
        return Failure(self.updates, layer, step, f"{what}; loss {loss:.4g}, gradient norm {done.before:.4g}")

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add a batch to the score."""
        with self.arithmetic.forward():
            answers, targets = self.model.answer(batch)
        if answers.is_floating_point():
            answers = answers.to(self.arithmetic.weights)
        if answers.ndim > targets.ndim:
            answers, targets = answers.flatten(0, -2), targets.flatten()
        self.score.update(answers, targets)

    test_step = validation_step

    def take_score(self) -> float:
        """Return the score over what was added, and start anew."""
        self.scored_at = self.updates
        value = float(self.score.compute())
        self.score.reset()
        return value
