"""The contract of a probe: one instrument, one question, one file.

A probe is a Lightning callback that watches a RecurrentModule and answers with fields of the Record. It is plugged in
by existing: the engine attaches one of each. A probe reads; it never changes what is trained.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import pytorch_lightning as pl

from harness.module import RecurrentModule
from harness.trial import Trial


class Probe(pl.Callback):
    """Watches one trial. Subclasses override Lightning hooks and `observed`."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial

    @abstractmethod
    def observed(self) -> dict[str, Any]:
        """Return the Record fields that this probe answers for, also after no or one update."""

    def samples(self, update: int) -> bool:
        """Whether a costly look is due at this update (counted from 0): always over the first, then sampled."""
        return update < 5 or update % self.trial.probe_every == 0


def last_update(module: pl.LightningModule) -> Any:
    """Return what the module's last update did."""
    assert isinstance(module, RecurrentModule) and module.last is not None
    return module.last
