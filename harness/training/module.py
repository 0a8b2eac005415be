"""The LightningModule: windows, loss, backward, clipping, update; and what it leaves for the probes to read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from harness.cells.base import Cell
from harness.data.batches import Batch
from harness.metrics import METRICS
from harness.models.base import Backward, Differentiate, Profile, Told, Windows
from harness.models.build import build_model
from harness.models.clipping import Clipped, clip
from harness.models.diagnose import first_non_finite, largest_gradient
from harness.models.objectives import LOSSES, cross_entropy
from harness.models.precision import Arithmetic, choose_kernels
from harness.models.progress import Failure, Progress, Update
from harness.models.scores import Score
from harness.models.scoring import score
from harness.tasks.base import Task
from harness.training.workers import Workers
from harness.trial import Trial

EXPLOSION = 1_000
"""A loss this many times the first one has exploded, although every number is still finite."""

WARM_UP = 0.05
"""Share of the updates over which a schedule rises."""


class RecurrentModule(pl.LightningModule):
    """Trains the model of a task by windows of backpropagation through time.

    Manual optimisation: an update may need several backward passes, and the norm must be seen before clipping.
    """

    def __init__(self, trial: Trial, task: Task, cell: Cell, workers: Workers | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.trial, self.task, self.workers = trial, task, workers or Workers()
        self.generator = torch.default_generator  # that dropout draws from on a CPU; in a pack each trial has its own
        self.arithmetic = Arithmetic(trial.precision, self.workers.device.type)
        self.model = build_model(trial, task, cell)
        choose_kernels(self.model, self.arithmetic)
        self.loss_of = self.arithmetic.exact(LOSSES.get(task.objective, cross_entropy))  # unread by a sequence head
        self.progress, self.scored_at = Progress(), 0
        self.total_updates = 0  # of the whole budget, which a schedule is spread over; set by the engine
        self.before_update: list[Callable[..., None]] = []  # by the panel of probes
        self.after_update: list[Callable[..., None]] = []
        self.scores = torch.nn.ModuleDict({name: score(name, task) for name in (task.metric, *task.also)})
        self._first_loss: float | None = None
        self._best: tuple[float, dict[str, Tensor]] | None = None  # validation score and weights
        self.named_weights = list(self.model.named_parameters())

    @property
    def updates(self) -> int:
        """How many were made."""
        return self.progress.updates

    @property
    def last(self) -> Update | None:
        """What the last one did."""
        return self.progress.last

    @property
    def first_loss(self) -> float | None:
        """That of the first update, against which an explosion is judged."""
        return self._first_loss

    @property
    def failure(self) -> Failure | None:
        """What ended training."""
        return self.progress.failure

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam (Kingma and Ba, arXiv:1412.6980) or plain SGD, in torch's fused form; with weight decay AdamW
        (Loshchilov and Hutter, arXiv:1711.05101), whose decay no gradient passes through."""
        decay = self.trial.weight_decay
        kind = {"adam": torch.optim.AdamW if decay else torch.optim.Adam, "sgd": torch.optim.SGD}[self.trial.optimizer]
        return kind(self.model.parameters(), lr=self.trial.learning_rate, weight_decay=decay, fused=True)

    def rate(self) -> float:
        """Step size of the next update: a share of `learning_rate`. Cosine: Loshchilov and Hutter, arXiv:1608.03983."""
        done = self.updates / max(1, self.total_updates)
        if self.trial.schedule == "constant":
            return self.trial.learning_rate
        rise = min(1.0, (self.updates + 1) / max(1.0, WARM_UP * self.total_updates))
        return self.trial.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def training_step(self, group: Iterable[Batch], index: int) -> None:
        """A group of updates, one after the other; the first failure ends it and training."""
        trainer, progress = self.trainer, self.progress
        for batch in group:
            number, batch = progress.updates, self.on_device(batch)
            for call in self.before_update:
                call(trainer, self, batch, number)
            self._update(batch)
            for call in self.after_update:
                call(trainer, self, None, batch, number)
            if progress.failure is not None:
                break

    def _update(self, batch: Batch) -> None:
        """One update: all windows of the batch, then clip and step. A non-finite or exploded value ends training."""
        optimizer: Any = self.optimizers(use_pl_optimizer=False)  # its wrapper counts steps that we count ourselves
        if self.trial.schedule != "constant":
            optimizer.param_groups[0]["lr"] = self.rate()
        loss, gradient, done = self.look_back(batch, Tensor.backward, optimizer)
        if self.settle(batch, loss, done, gradient):
            optimizer.step()
        elif self.failure is not None:
            self.trainer.should_stop = True  # before the step: the weights stay as they were
        self.arithmetic.adjust()

    def look_back(
        self, batch: Batch, differentiate: Differentiate, optimizer: torch.optim.Optimizer
    ) -> tuple[float, Profile | None, Clipped]:
        """Leave the clipped gradient of a batch at the weights; return the loss, its gradient by lag where that is
        watched, and what clipping did. Of several workers each goes back over its rows, and all have the sum."""
        for _, parameter in self.named_weights:
            parameter.grad = None  # zero_grad() without a profiler's record
        # the last batch may have too few rows for every worker
        watch, rows = self.progress.watch, len(batch.inputs)
        loss, gradient = self._backward(batch, watch, differentiate) if rows else Backward(0.0, None)
        if self.workers.several:
            loss = self.workers.add_up([weight for _, weight in self.named_weights], loss)
            gradient = self.workers.profile(gradient) if watch else None
        self.arithmetic.unscale(optimizer)
        return loss, gradient, clip(self.named_weights, self.trial)

    def settle(self, batch: Batch, loss: float, done: Clipped, gradient: Profile | None) -> bool:
        """Note what an update found, and whether it failed; return whether a step may follow."""
        progress = self.progress
        progress.updates += 1
        if self._first_loss is None:
            self._first_loss = loss
        skipped = math.isfinite(loss) and self.arithmetic.skips(done.finite)
        progress.failure = self._fault(batch, loss, done) if not skipped and self.wrong(loss, done) else None
        tokens, padded = self.model.steps(batch.full)
        progress.last = Update(loss, done, skipped, tokens, padded, len(batch.full.inputs), gradient)
        return progress.failure is None and not skipped

    def on_device(self, batch: Batch) -> Batch:
        """Return a batch where the weights are."""
        return cast(Batch, self.transfer_batch_to_device(batch, self.device, 0))

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Lightning walks every field of a batch to move it; on a CPU there is nothing to move, and a group of updates
        is moved one by one."""
        if device.type == "cpu" or not isinstance(batch, Batch):
            return batch
        moved = super().transfer_batch_to_device(batch._replace(whole=None), device, dataloader_idx)
        return moved._replace(whole=batch.full)  # counted where it is

    def _backward(
        self, batch: Batch, watch: bool, differentiate: Differentiate, begins: Told | None = None
    ) -> Backward:
        # a batch of a stream is one window already
        reach = (None, None) if self.task.stream else (self.trial.bptt_length, self.trial.bptt_stride)
        with self.arithmetic.forward():
            windows = Windows(*reach, watch, self.arithmetic.scale, begins)
            scaled = partial(self.arithmetic.backward, differentiate=differentiate)
            return self.model.backward(batch, self.loss_of, windows, scaled)

    def wrong(self, loss: float, done: Clipped) -> bool:
        """Whether an update ends training: its loss or a gradient is not finite, or the loss has exploded."""
        first = loss if self._first_loss is None else self._first_loss
        return not (abs(loss) < float("inf") and done.finite and loss <= EXPLOSION * max(abs(first), 1e-6))

    def _fault(self, batch: Batch, loss: float, done: Clipped) -> Failure:
        """Name the first thing wrong with an update that ends training."""
        if abs(loss) < float("inf") and done.finite:
            reason = f"loss {loss:.4g} is over {EXPLOSION:,} times the first loss, {self._first_loss:.4g}"
            return Failure(self.updates, largest_gradient(self.model), None, reason)
        repeat = partial(self._backward, batch, False)
        with self.arithmetic.forward():
            look = partial(first_non_finite, self.model, batch, repeat) if len(batch.inputs) else lambda: None
            layer, step, what = self.workers.first_bad(look)
        return Failure(self.updates, layer, step, f"{what}; loss {loss:.4g}, gradient norm {done.before:.4g}")

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add a batch to the score."""
        self._add(batch, self.task.metric)

    def test_step(self, batch: Batch, index: int) -> None:
        """Add a batch to every score."""
        self._add(batch, *self.scores)

    def _add(self, batch: Batch, *names: str) -> None:
        found: dict[str, tuple[Tensor, Tensor]] = {}
        for each in (cast(Score, self.scores[name]) for name in names):
            if each.reads not in found:
                with self.arithmetic.forward():
                    answers, targets = (self.model.answer if each.reads == "answer" else self.model.forced)(batch)
                exact = answers.to(self.arithmetic.weights) if answers.is_floating_point() else answers
                found[each.reads] = exact, targets
            each.update(*found[each.reads], batch.references)

    def take_score(self) -> float:
        """Return the task's score over what was added, and start anew."""
        self.scored_at = self.updates
        value = self.take_scores()[self.task.metric]
        if self.trial.select == "best" and self.failure is None:
            sign = 1 if METRICS[self.task.metric].better == "higher" else -1
            if self._best is None or sign * value > sign * self._best[0]:
                self._best = value, {name: weight.detach().clone() for name, weight in self.model.state_dict().items()}
        return value

    def state(self) -> dict[str, Any]:
        """Return all that training has changed here, for a checkpoint; a schedule follows `updates`."""
        carried = {
            mode: [tuple(s.to("cpu", copy=True) for s in state) for state in at]
            for mode, at in self.model.carried.items()
        }
        return {
            "weights": self.model.state_dict(), "best": self._best, "carried": carried, "updates": self.updates,
            "arithmetic": self.arithmetic.state(), "scored_at": self.scored_at, "first_loss": self._first_loss,
        }  # fmt: skip

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.model.load_state_dict(state["weights"])
        self.arithmetic.load_state(state["arithmetic"])
        self.model.carried = {
            mode: [tuple(s.to(self.device) for s in state) for state in at] for mode, at in state["carried"].items()
        }
        self.progress.updates = state["updates"]
        self._best, self.scored_at, self._first_loss = state["best"], state["scored_at"], state["first_loss"]

    def choose_weights(self) -> None:
        """Go back to the weights that were best on the validation split, if the trial selects them."""
        if self._best is not None:
            self.model.load_state_dict(self._best[1])

    def take_scores(self) -> dict[str, float]:
        """Return every score over what was added, NaN for one that nothing was added to, and start anew."""
        values = {}
        for name in self.scores:
            each = cast(Score, self.scores[name])
            values[name] = float(each.compute()) if each.update_called else math.nan  # of all workers together
            each.reset()
        return values
