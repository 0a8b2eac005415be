"""The LightningModule of a pack: K trials, whose updates are one program and whose everything else is their own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from harness.data.batches import Batch
from harness.errors import out_of_memory
from harness.models.base import Windows
from harness.models.clipping import Clipped
from harness.pack.captured import Captured, Graphs
from harness.pack.dropping import drawing_from
from harness.pack.plan import drops
from harness.pack.stacked import Gradient, Stacked
from harness.probes.panel import Panel
from harness.training.keeper import Keeper
from harness.training.module import RecurrentModule
from harness.training.snapshot import Course


class Member(NamedTuple):
    """A trial of a pack: what changes while it trains, who writes it down, and its probes."""

    course: Course
    keeper: Keeper
    panel: Panel
    optimizer: torch.optim.Optimizer

    @property
    def module(self) -> RecurrentModule:
        """What is trained."""
        return self.course.module


class Pack(pl.LightningModule):
    """Trains K trials of one shape, each as it would be alone, with batched products.

    An update that a probe looks into, or whose batches differ in shape, is made by each trial for itself. A trial that
    fails is frozen, at the same update as alone, and the others go on.
    """

    def __init__(self, courses: Sequence[Course], keepers: Sequence[Keeper], graphs: Graphs | None = None) -> None:
        """`graphs` records updates and repeats them; None: each is made anew."""
        super().__init__()
        self.automatic_optimization = False
        self.modules_of_trials = torch.nn.ModuleList(course.module for course in courses)
        self.members = [
            Member(course, keeper, Panel(course.probes), course.module.configure_optimizers())
            for course, keeper in zip(courses, keepers, strict=True)
        ]
        self.alive = list(self.members)
        self.most = len(self.members)  # trials whose gradient is computed at once
        self.drops = drops(courses[0].module.trial)
        self.joint = 0  # updates that were made together
        self.graphs, self.ran = graphs, Counter[str]()  # how updates were made, where they may be recorded
        self.asked = False  # for checkpoints, by the clock

    def configure_optimizers(self) -> None:
        """None of Lightning's: the members have theirs."""

    def begin(self) -> None:
        """Let every trial go on from its checkpoint, or begin; then put all into shared memory."""
        for member in self.members:
            member.keeper.beside = member.module.progress.beside = len(self.members)
            member.keeper.go_on(member.optimizer)
        self._stack()
        self.members[0].keeper.start_clock(self.ask)

    def ask(self) -> None:
        """Have checkpoints written after the update that is being made."""
        self.asked = True

    def take(self) -> None:
        """Write down every trial that trains. Raises Paused where a stop was asked for."""
        begin, self.asked = time.monotonic(), False
        for member in self.alive:
            member.keeper.write()
        self.members[0].keeper.served(begin)

    def training_step(self, group: Iterable[Sequence[Batch]], index: int) -> None:
        """A group of updates of every trial."""
        for batches in group:
            if any(probe.alone(m.module) for m in self.alive for probe in m.course.probes):
                for k, batch in enumerate(batches):
                    self._tell_before(k, batch)
                    self._by_itself(k, batch)
            else:
                self._together(batches)
            if any(m.module.failure is not None for m in self.alive):
                self._freeze()
            if self.asked and self.alive:
                self.take()
            if not self.alive:
                self.trainer.should_stop = True
                break

    def _tell_before(self, k: int, batch: Batch) -> None:
        module = self.alive[k].module
        for call in module.before_update:
            call(self.trainer, module, batch, module.updates)

    def _tell_after(self, k: int, batch: Batch) -> None:
        module = self.alive[k].module
        for call in module.after_update:
            call(self.trainer, module, None, batch, module.updates - 1)

    def _together(self, batches: Sequence[Batch]) -> None:
        """One update of all trials at once; of each by itself where their batches do not go together."""
        for k, batch in enumerate(batches):
            self._tell_before(k, batch)
        rates, watch = [m.module.rate() for m in self.alive], any(m.module.progress.watch for m in self.alive)
        done = self.captured.update(batches, rates, watch) if self.captured else None
        if done is not None:
            for k, batch in enumerate(batches):
                self._settle(k, batch, done.clipped[k], done.found)
        else:
            found = self._gradient([m.module.on_device(b) for m, b in zip(self.alive, batches, strict=True)], watch)
            if found is None:
                for k, batch in enumerate(batches):
                    self._by_itself(k, batch)
                return
            clipped = self.stacked.clip(found.grads_KN, self.stacked.weights_KN).told()
            going = {k: rate for k, rate in enumerate(rates) if self._settle(k, batches[k], clipped[k], found)}
            self.stacked.step(going, found.grads_KN)
        for k, batch in enumerate(batches):
            self._tell_after(k, batch)
        self.joint += 1

    def _windows(self, watch: bool) -> Windows:
        one = self.alive[0].module
        reach = (None, None) if one.task.stream else (one.trial.bptt_length, one.trial.bptt_stride)
        return Windows(*reach, watch)

    def _gradient(self, batches: Sequence[Batch], watch: bool) -> Gradient | None:
        """As Stacked.gradient; where memory does not suffice, of half as many trials at once from now on."""
        while True:
            try:
                return self.stacked.gradient(batches, self._windows(watch))
            except (RuntimeError, MemoryError) as error:
                if self.most == 1 or not out_of_memory(error):
                    raise
            self.most = -(-self.most // 2)  # outside of `except`, where the failed pass is still held
            print(f"warning: out of memory: a pack goes on with {self.most} trials at once", flush=True)
            self.stacked.cut(self.most)

    def _give(self, module: RecurrentModule, grad_N: Tensor) -> None:
        """Let a trial's weights have their gradients, as views."""
        for (_, weight), part in zip(module.named_weights, self.stacked.parts(grad_N).values(), strict=True):
            weight.grad = part

    def _settle(self, k: int, batch: Batch, done: Clipped, found: Gradient) -> bool:
        module, loss = self.alive[k].module, found.losses[k]
        if module.wrong(loss, done):  # what it is will be looked for in the trial's own model
            batch = module.on_device(batch)
            self._give(module, found.grads_KN[k])
            module.model.began = self.stacked.begun(k)
        return module.settle(batch, loss, done, found.by_lag[k])

    def _by_itself(self, k: int, batch: Batch) -> None:
        """One update of one trial, as it is made alone."""
        member = self.alive[k]
        module, rate = member.module, member.module.rate()
        batch = module.on_device(batch)
        with drawing_from(module.generator):
            loss, gradient, done = module.look_back(batch, Tensor.backward, member.optimizer)
        if module.settle(batch, loss, done, gradient):
            grads = [torch.zeros_like(w) if w.grad is None else w.grad for _, w in module.named_weights]
            row_1N = torch.cat([grad.flatten() for grad in grads])[None]
            self.stacked.step({k: rate}, row_1N.expand(len(self.alive), -1))
        self._tell_after(k, batch)

    def _freeze(self) -> None:
        """Leave out the trials that have failed; the others go on in less memory."""
        for k, member in enumerate(self.alive):
            if member.module.failure is not None:
                self.stacked.release(k)
        self.alive = [m for m in self.alive if m.module.failure is None]
        for member in self.alive:
            member.module.progress.beside = len(self.alive)
        if self.alive:
            self._stack()

    def _stack(self) -> None:
        self.stacked = Stacked([m.module for m in self.alive], [m.optimizer for m in self.alive])
        if self.most < len(self.alive):
            self.stacked.cut(self.most)
        how = (self.stacked, self._windows(watch=False))
        self.captured = Captured(*how, self.graphs, self.ran) if self.graphs else None

    def validation_step(self, of: tuple[int, Batch], index: int) -> None:
        """Add a batch to the score of one trial."""
        place, batch = of
        module = self.members[place].module
        module.validation_step(module.on_device(batch), index)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Nothing here: batches are moved one by one, where they are used."""
        return batch
