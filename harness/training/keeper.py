"""When a trial is written down: now and then by the clock, and at once when a stop is asked for.

While nothing is due an update pays nothing: a thread sleeps, and only when a checkpoint is due does it add a call to
those that the module makes after an update. Neither when nor how often a checkpoint is written decides any result, so
it is no part of the Trial. Not Lightning's own checkpoints: those know batches, which here are groups of updates, so
they could not stop inside one; they leave out the state of streams, probes and generators, move a file by way of TMPDIR
without syncing it, and trust what they read.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from harness import __version__
from harness.errors import Paused
from harness.spent import CLOCK
from harness.stop import Stop
from harness.training.checkpoint import Checkpoints, Foreign
from harness.training.module import RecurrentModule
from harness.training.snapshot import Course
from harness.training.workers import NOTHING, SAVE, STOP

EVERY = 20.0
"""Seconds of training before the first checkpoint, and at least so many between two."""

SHARE = 0.01
"""Of the time of a trial, at most so much goes into writing checkpoints: their cost is measured."""

NAP = 0.5
"""Seconds between two looks for a request to stop: measured, 0.1 ms of a core for each on a busy machine."""


class Keeper(pl.Callback):
    """Knows how a trial came to where it is: its attempts, their time, and the checkpoint that it goes on from."""

    def __init__(self, checkpoints: Checkpoints | None = None, every: float = EVERY, stop: Stop | None = None) -> None:
        """Without `checkpoints` a trial is one attempt, and nothing is written."""
        self.checkpoints, self.every, self.stop = checkpoints, every, stop
        self.started, self.attempts = datetime.now(UTC).isoformat(timespec="seconds"), 1
        self._begin, self._end, self._earlier = time.perf_counter(), 0.0, 0.0
        self.beside = 1  # trials that train at once here, this one among them
        self._found: dict[str, Any] | None = None
        self._bound: dict[str, str] = {}
        self._lock, self._over, self._due, self._stopping = threading.Lock(), threading.Event(), False, False

    @property
    def seconds(self) -> float:
        """Wall time over all attempts, in a pack its share of it; of an attempt that was killed, up to its last
        checkpoint."""
        return self._earlier + ((self._end or time.perf_counter()) - self._begin) / self.beside

    def open(self, course: Course, data_sha256: str) -> int:
        """Look for a checkpoint of a trial that is about to train, and return how many updates were made before.

        Of several workers the first one looks, and tells the others. Raises ValueError where they do not train alike.
        """
        self.course, workers = course, course.module.workers
        self._sigterm = signal.getsignal(signal.SIGTERM)
        if self.checkpoints or workers.several:
            self._bound = bindings(course, data_sha256)
        for rank, bound in enumerate(workers.all(self._bound)):
            for name in (name for name in bound if bound[name] != self._bound[name]):
                raise ValueError(f"{name}: worker {rank} has {bound[name]}, worker {workers.rank} {self._bound[name]}")
        found = workers.first(self.checkpoints.read(self._bound) if self.checkpoints else None)
        if found is None:
            return 0
        self._found, self.attempts = found.state, found.attempt
        updates = found.state["module"]["updates"]
        if self.checkpoints:
            trial, count = self.checkpoints.trial_id, len(course.loader)
            print(f"trial {trial} goes on from update {updates} of {count}", flush=True)
        return updates

    def close(self) -> None:
        """The trial is over, and its time stands still."""
        self._end = self._end or time.perf_counter()
        self._over.set()
        if self.stop is not None:
            self.stop.heeded = False

    def set_aside(self, why: Foreign) -> None:
        """The checkpoint does not fit: forget it, for the trial starts anew."""
        if self.checkpoints is not None:
            self.checkpoints.set_aside(str(why))
        self.attempts, self._found = 1, None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on from the checkpoint, if there is one, and start the clock."""
        self.go_on(trainer.optimizers[0])
        if self.course.module.workers.several:
            self.course.module.after_update.append(self._agreed)
        self.start_clock(self.ask)

    def go_on(self, optimizer: torch.optim.Optimizer) -> None:
        """Go on from the checkpoint, if there is one. Raises Foreign where it does not fit."""
        self._optimizer = optimizer
        if self._found is not None:
            try:
                self.course.load_state(self._found, self._optimizer)
            except (KeyError, ValueError, RuntimeError, TypeError) as error:
                raise Foreign(f"its checkpoint does not fit: {str(error).splitlines()[0]}") from error
            self._earlier, self.started = self._found["seconds"], self._found["started"]
            self._found = None

    def start_clock(self, ask: Callable[[], None]) -> None:
        """From now on `ask` for a checkpoint when one is due, from a thread of its own."""
        if self.checkpoints is None:
            return
        if threading.current_thread() is threading.main_thread() and self._sigterm is not None:
            signal.signal(signal.SIGTERM, self._sigterm)  # Lightning's own would end training after a group, unsaved
        if self.stop is not None:
            self.stop.heeded = True
        self._next = time.monotonic() + self.every
        threading.Thread(target=self._watch, args=(ask,), daemon=True).start()

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Between two batches of an evaluation all stands as after the last update; it is made anew."""
        if self._stopping and not self.course.module.workers.several:
            self._take(pl_module)

    def _watch(self, ask: Callable[[], None]) -> None:
        """Sleep until something is due."""
        while not self._over.wait(NAP):
            self._stopping = self.stop is not None and self.stop.asked
            if self._stopping or time.monotonic() >= self._next:
                ask()
            if self._stopping:
                return

    def ask(self) -> None:
        """Have a checkpoint taken after the update that is being made, whichever thread this is; of several workers
        after the next one of which all hear in time."""
        workers = self.course.module.workers
        with self._lock:
            if workers.several:
                workers.says = STOP if self._stopping else SAVE
            elif not self._due:
                self._due = True
                self.course.module.after_update.append(self._after_update)

    def _agreed(self, trainer: pl.Trainer, pl_module: RecurrentModule, *_: Any) -> None:
        """After an update of several workers: do what the first one asked of all."""
        if pl_module.workers.heard != NOTHING and pl_module.failure is None:
            self._take(pl_module)

    def _after_update(self, trainer: pl.Trainer, pl_module: RecurrentModule, *_: Any) -> None:
        pl_module.after_update.remove(self._after_update)
        if pl_module.failure is None:  # what has failed is about to be a record
            self._take(pl_module)

    def _take(self, pl_module: pl.LightningModule) -> None:
        begin = time.monotonic()
        with CLOCK.on("checkpoint"):
            self.write()
        self.served(begin)

    def write(self) -> None:
        """Write a checkpoint, as the first of several workers; where that fails the trial goes on without."""
        state = self.course.state(self._optimizer) | {"seconds": self.seconds, "started": self.started}
        try:
            if self.checkpoints is not None:
                self.checkpoints.write(state, self.course.module.updates, self.attempts, self._bound)
        except OSError as error:
            print(f"warning: no checkpoint of trial {self.course.module.trial.id}: {error}", flush=True)
        for probe in self.course.probes:
            probe.skip_time()

    def served(self, begin: float) -> None:
        """What the clock asked for was done, from `begin` on. End the trial if a stop was asked for."""
        now, workers = time.monotonic(), self.course.module.workers
        with self._lock:  # only now may the clock ask again; who asked for a stop meanwhile has said so below
            self._next, self._due = now + max(self.every, (now - begin) / SHARE), False
            if workers.says == workers.heard:
                workers.says = NOTHING
        if workers.heard == STOP if workers.several else self._stopping:
            trial = self.course.module.trial.id
            raise Paused(f"trial {trial} stopped after update {self.course.module.updates}")


def bindings(course: Course, data_sha256: str) -> dict[str, str]:
    """Return what must be the same for a state to be gone on from."""
    versions = {"harness": __version__, "torch": torch.__version__, "numpy": np.__version__}
    return {"data": data_sha256, "code": course.code, **versions}
