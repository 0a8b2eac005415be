"""The panel that all probes of a trial sit on: to Lightning they are one callback.

Lightning calls every hook of every callback, overridden or not, inside a profiler's context: seven probes cost more
there than they do themselves. The panel has only the hooks that some probe overrides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl

from harness.training.module import RecurrentModule

EACH_UPDATE = ("on_train_batch_start", "on_train_batch_end")
"""Called by the module before and after every update: to Lightning, a batch is a group of updates."""
HOOKS = [name for name in vars(pl.Callback) if name.startswith(("on_", "setup", "teardown"))]


class Panel(pl.Callback):
    """Passes each hook on to the probes that override it, in order."""

    def __init__(self, probes: Iterable[pl.Callback]) -> None:
        self.probes = list(probes)
        heard: dict[str, list[Callable[..., None]]] = {}
        for hook in HOOKS:
            unused = getattr(pl.Callback, hook)
            listening = [getattr(probe, hook) for probe in self.probes if getattr(type(probe), hook) is not unused]
            heard[hook] = listening
            if listening and hook not in EACH_UPDATE:
                setattr(self, hook, _all(listening))
        self.before_update, self.after_update = (heard[hook] for hook in EACH_UPDATE)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Let the module call what wants to hear of every update."""
        assert isinstance(pl_module, RecurrentModule)
        pl_module.before_update, pl_module.after_update = self.before_update, self.after_update


def _all(calls: list[Callable[..., None]]) -> Callable[..., None]:
    def hook(*arguments: Any, **named: Any) -> None:
        for call in calls:
            call(*arguments, **named)

    return hook
