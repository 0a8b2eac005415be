"""Trials that are stopped after a given update, at a checkpoint, and go on from it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from harness.engine import run_trial
from harness.errors import Paused
from harness.record import Record
from harness.stop import Stop
from harness.training.checkpoint import Checkpoints
from harness.training.keeper import Keeper
from harness.trial import Trial


class At(Keeper):
    """A keeper that is asked to stop while this update is made (counted from 1), instead of by a clock and a user."""

    def __init__(self, checkpoints: Checkpoints, update: int, stop: Stop) -> None:
        super().__init__(checkpoints, every=3600, stop=stop)
        self.update = update

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        super().on_train_start(trainer, pl_module)
        pl_module.after_update.insert(0, self._count)

    def _count(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if pl_module.updates == self.update:
            self.stop_now()

    def stop_now(self) -> None:
        """As the clock's thread does when it finds that a stop was asked for."""
        assert self.stop is not None and self.stop.ask()
        self._stopping = True
        self.ask()


class InEvaluation(At):
    """Asked while the evaluation after this update is made."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        Keeper.on_train_start(self, trainer, pl_module)

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
        if pl_module.updates == self.update:
            assert self.stop is not None and self.stop.ask()
            self._stopping = True
        super().on_validation_batch_end(trainer, pl_module, *rest)


def stopped(trial: Trial, folder: Path, updates: Iterable[int], kind: type[At] = At) -> tuple[Record, list[bytes]]:
    """Stop a trial after each of these updates and let it go on; return its record and its trained weights."""
    kept: list[bytes] = []
    checkpoints, stop = folder / f"{trial.id}.checkpoint", Stop(str(folder / ".stop" / "asked"))
    for update in updates:
        with pytest.raises(Paused, match=f"after update {update}$"):
            run_trial(trial, keep=kept.append, keeper=kind(Checkpoints(checkpoints, trial.id), update, stop))
        stop.withdraw()
        assert not kept
    last = Checkpoints(checkpoints, trial.id)
    record = run_trial(trial, keep=kept.append, keeper=Keeper(last, every=3600))
    last.remove()
    return record, kept


def whole(trial: Trial) -> tuple[Record, list[bytes]]:
    """The same without a stop."""
    kept: list[bytes] = []
    return run_trial(trial, keep=kept.append), kept


def same(one: tuple[Record, list[bytes]], other: tuple[Record, list[bytes]]) -> bool:
    """Whether records, times aside, and weights are equal bit for bit."""
    return repr(one[0].without_times()) == repr(other[0].without_times()) and one[1] == other[1]
