"""Updates, handed to Lightning in groups.

Lightning does work of its own for each batch it is given: hooks, profiler contexts, signature checks. For a network
whose update takes a millisecond that is as much again. A "batch" of the Trainer is therefore a group of updates, which
the module makes one after the other; what is computed does not depend on how they are grouped.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Protocol

from harness.data.batches import Batch

MOST = 64
"""Updates of one group: Lightning's work for it, half a millisecond, is a sixty-fourth of that for each."""


class Updates(Protocol):
    """A loader of every update of a trial."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


class Groups:
    """Cuts a loader into groups that never reach across an evaluation; `per_evaluation` groups lie between two."""

    def __init__(self, updates: Updates, evaluations: int) -> None:
        """`evaluations`: how many points of the learning curve are wanted, as far as there are updates."""
        self.updates = updates
        between = max(1, len(updates) // evaluations)
        whole, rest = divmod(len(updates), between)
        self.per_evaluation = -(-between // MOST)
        self.sizes = _cut(between) * whole + _cut(rest)

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Iterator[Batch]]:
        batches = iter(self.updates)
        for size in self.sizes:
            yield islice(batches, size)


def _cut(updates: int) -> list[int]:
    """Sizes of the fewest groups of at most MOST that make so many updates."""
    return [min(MOST, updates - start) for start in range(0, updates, MOST)]
