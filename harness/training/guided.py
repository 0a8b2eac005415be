"""A trial that a search watches: at each point of its learning curve it says how far it has come.

What is told is the score on the validation split; a search that stops a trial, or exchanges its weights for another's,
answers by ending it there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytorch_lightning as pl
from pytorch_lightning.trainer.states import TrainerFn

from harness.errors import Paused
from harness.stop import Stop
from harness.training.checkpoint import Checkpoints, Foreign, packed, unpacked
from harness.training.keeper import Keeper, bindings
from harness.training.snapshot import Course


class Beginning(NamedTuple):
    """Where a member of a population begins: after so many evaluations; `state`: b"" where that is to be made anew."""

    evaluation: int = 0
    state: bytes = b""


class Guided(Keeper):
    """A keeper that tells `heard` of each evaluation before the last one, and waits for it to return."""

    def __init__(
        self, heard: Callable[[Guided], None], checkpoints: Checkpoints | None, every: float, stop: Stop | None
    ) -> None:
        super().__init__(checkpoints, every, stop)
        self.heard = heard

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The learning curve has this point by now. After the last update there is nothing left to be guided."""
        module = self.course.module
        if trainer.state.fn is TrainerFn.FITTING and module.failure is None and module.updates < module.total_updates:
            self.heard(self)

    @property
    def curve(self) -> list[float]:
        """Scores on the validation split so far."""
        return self.observed()["curve_valid_score"]

    def observed(self) -> dict[str, Any]:
        """Return the fields of the record that are known by now."""
        fields: dict[str, Any] = {"floor": self.course.module.task.floor()}
        fields |= {"parameters": sum(p.numel() for p in self.course.module.parameters())}
        for probe in self.course.probes:
            fields |= probe.observed()
        return fields | {"seconds": self.seconds, "attempts": self.attempts, "started": self.started, "score": math.nan}


class Member(Guided):
    """One of a population, from one exchange to the next: it begins where the state that it is given ends, and hands
    its own on. It writes no checkpoints of its own."""

    def __init__(
        self,
        heard: Callable[[Guided], None],
        begins: Callable[[dict[str, str]], Beginning],
        checkpoints: Checkpoints | None,
        every: float,
        stop: Stop | None,
    ) -> None:
        """`begins`: returns where it begins; it is told what states are bound to."""
        super().__init__(heard, None, every, stop)
        self.begins, self.state = begins, b""
        """What another member, or this one, can go on from."""
        self.bound: dict[str, str] = {}
        self._seen = 0

    def open(self, course: Course, data_sha256: str) -> int:
        """Return how many updates the state that it begins with has behind it."""
        super().open(course, data_sha256)
        self.bound = bindings(course, data_sha256)
        begin = self.begins(self.bound)
        self._seen = begin.evaluation  # which is made anew, as are those before it where there is no state
        if not begin.state:
            return 0
        self._found = unpacked(begin.state)
        updates = int(self._found["module"]["updates"])
        print(f"trial {course.module.trial.id} goes on from update {updates} of {len(course.loader)}", flush=True)
        return updates

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """All stands as after the last update: that is what another member can go on from."""
        if trainer.state.fn is TrainerFn.FITTING:
            own = {"seconds": self.seconds, "started": self.started}
            self.state = packed(self.course.state(self._optimizer) | own)  # at once: probes go on writing into theirs

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say so only of evaluations that nobody has heard of. Raises Paused where the run was asked to stop."""
        if len(self.curve) > self._seen:
            super().on_validation_end(trainer, pl_module)
        if self.stop is not None and self.stop.asked:
            trial = self.course.module.trial.id
            raise Paused(f"trial {trial} stopped with its population, which goes on from its last exchange")

    def set_aside(self, why: Foreign) -> None:
        """What a population hands on always fits."""
        raise AssertionError(str(why)) from why
