"""What Lightning is given of a pack: the batches of its trials side by side, and who hears what happens to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import pytorch_lightning as pl

from harness.data.batches import Batch
from harness.pack.module import Pack
from harness.probes.panel import HOOKS


class Batches:
    """The updates of every trial that still trains, side by side."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack

    def __len__(self) -> int:
        return len(self.pack.members[0].course.loader)

    def __iter__(self) -> Iterator[list[Batch]]:
        each = [(member, iter(member.course.loader)) for member in self.pack.members]
        while True:
            batches = [next(own, None) for member, own in each if member.module.failure is None]
            if not batches or any(batch is None for batch in batches):
                return
            yield cast(list[Batch], batches)


class Evaluations:
    """One pass over a split for each trial that still trains, one after the other: (place in the pack, batch)."""

    def __init__(self, pack: Pack, splits: Sequence[Any]) -> None:
        self.pack, self.splits = pack, splits

    def __len__(self) -> int:
        return sum(len(split) for split in self.splits)

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        for place, split in enumerate(self.splits):
            if self.pack.members[place].module.failure is None:
                for batch in split:
                    yield place, batch


class Members(pl.Callback):
    """Tells each trial's own probes what Lightning tells of the pack."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        for hook in {hook for member in pack.members for hook in vars(member.panel)} & {*HOOKS}:
            if hook not in vars(type(self)):
                setattr(self, hook, self._forward(hook))

    def _forward(self, hook: str) -> Callable[..., None]:
        def tell(trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any) -> None:
            for member in self.pack.members if hook == "on_train_end" else self.pack.alive:
                if hook in vars(member.panel):
                    getattr(member.panel, hook)(trainer, member.module, *rest)

        return tell

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Let every trial call what wants to hear of its updates."""
        for member in self.pack.members:
            member.panel.setup(trainer, member.module, stage)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Every trial goes on from where it was."""
        self.pack.begin()
        self._forward("on_train_start")(trainer, pl_module)

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Between two batches of an evaluation all stands as after the last update; it is made anew."""
        self._forward("on_validation_batch_end")(trainer, pl_module, *_)
        if self.pack.asked and self.pack.alive:
            self.pack.take()
