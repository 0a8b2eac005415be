"""A trial whose settings change on the way, as a population had them change: the same schedule, the same numbers."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from harness.training.module import RecurrentModule
from harness.trial import Trial


class Changing(pl.Callback):
    """Gives the module the settings that are due before each update of the trial's `changes`.

    What holds by now follows from the updates made, so that a checkpoint has nothing to keep of it.
    """

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.due = {change["at"] for change in trial.changes}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Also of a trial that goes on from a checkpoint."""
        assert isinstance(pl_module, RecurrentModule)
        if self.due:
            pl_module.before_update.insert(0, self._before)
            self._set(trainer, pl_module, pl_module.updates)

    def _before(self, trainer: pl.Trainer, pl_module: RecurrentModule, batch: Any, number: int) -> None:
        if number in self.due:
            self._set(trainer, pl_module, number)

    def _set(self, trainer: pl.Trainer, pl_module: RecurrentModule, updates: int) -> None:
        pl_module.trial = self.trial.after(updates)
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = pl_module.trial.learning_rate  # a schedule other than constant sets its own share of it
