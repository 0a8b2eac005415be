"""The contract of a probe: one instrument, one question, one file.

A probe is a Lightning callback that watches a RecurrentModule and answers with fields of the Record. It is plugged in
by existing: the engine attaches one of each. A probe reads; it never changes what is trained.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import pytorch_lightning as pl

from harness.training.module import RecurrentModule
from harness.trial import Trial


class Probe(pl.Callback):
    """Watches one trial. Subclasses override Lightning hooks and `observed`, and declare what they `kept`."""

    kept: ClassVar[tuple[str, ...]]
    """Attributes that an update changes and that later updates, or the answer, depend on. Between two updates they hold
    plain data (numbers, texts, tensors, and lists, tuples and dicts of them): a checkpoint holds them."""

    def __init_subclass__(cls) -> None:
        assert "kept" in vars(cls), f"{cls.__name__}: declare `kept`, what a checkpoint holds of it"

    def __init__(self, trial: Trial) -> None:
        self.trial = trial

    @abstractmethod
    def observed(self) -> dict[str, Any]:
        """Return the Record fields that this probe answers for, also after no or one update."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of this probe."""
        return {name: getattr(self, name) for name in self.kept}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from there. Raises KeyError where it is not the state of such a probe."""
        if state.keys() != set(self.kept):
            raise KeyError(f"{type(self).__name__} keeps {', '.join(self.kept)}, not {', '.join(state)}")
        for name, value in state.items():
            setattr(self, name, value)

    def skip_time(self) -> None:
        """Time has passed since the last update in which nobody trained: a checkpoint was written."""

    def alone(self, module: RecurrentModule) -> bool:
        """Whether the coming update must be made by itself, not with those of other trials: the probe looks into it."""
        return False

    def samples(self, update: int) -> bool:
        """Whether a costly look is due at this update (counted from 0): always over the first, then sampled."""
        return update < 5 or update % self.trial.probe_every == 0


def last_update(module: pl.LightningModule) -> Any:
    """Return what the module's last update did."""
    assert isinstance(module, RecurrentModule) and module.last is not None
    return module.last
