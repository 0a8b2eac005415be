"""Updates, handed to Lightning in groups.

Lightning does work of its own for each batch it is given: hooks, profiler contexts, signature checks. For a network
whose update takes a millisecond that is as much again. A "batch" of the Trainer is therefore a group of updates, which
the module makes one after the other; what is computed does not depend on how they are grouped.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Protocol

MOST = 64
"""Updates of one group: Lightning's work for it, half a millisecond, is a sixty-fourth of that for each."""


class Updates(Protocol):
    """A loader of every update of a trial."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


class First:
    """The first updates of a trial, `count` of them."""

    def __init__(self, updates: Updates, count: int) -> None:
        self.updates, self.count = updates, min(count, len(updates))

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        return islice(self.updates, self.count)


class Groups:
    """Cuts a loader into groups that never reach across an evaluation; `per_evaluation` groups lie between two.

    Of a trial that goes on from a checkpoint, the groups that were made since the last evaluation are empty, so that
    the next one comes where it would have come.
    """

    def __init__(self, updates: Updates, evaluations: int, done: int = 0) -> None:
        """`evaluations`: how many points of the learning curve are wanted, as far as there are updates. `done`: updates
        that were made in earlier attempts; an evaluation that is due right after them has not been made."""
        self.updates = updates
        count = len(updates)
        between = max(1, count // evaluations)
        begin = max(0, done - 1) // between * between
        sizes = [size for start in range(begin, count, between) for size in _cut(min(between, count - start))]
        self.sizes = _without(sizes, done - begin)
        self.per_evaluation = min(-(-between // MOST), len(sizes))

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Iterator[Any]]:
        batches = iter(self.updates)
        for size in self.sizes:
            yield islice(batches, size)


def _cut(updates: int) -> list[int]:
    """Sizes of the fewest groups of at most MOST that make so many updates."""
    return [min(MOST, updates - start) for start in range(0, updates, MOST)]


def _without(sizes: list[int], done: int) -> list[int]:
    """The same groups without the first `done` updates in them."""
    left = []
    for size in sizes:
        made = min(size, done)
        left.append(size - made)
        done -= made
    return left
