"""What one of several workers reads: of every batch of a trial its own rows, over the steps of the whole batch.

Every worker makes every update of the trial, on the same batches in the same order as one worker alone would, so all
make equally many by construction. Rows are dealt out in their order, and the shares differ by one row at most: what
adds them up weighs each by what is due in it, so a batch need not divide by the workers. Of a stream a row is a lane,
which stays with its worker, and so does the state that is carried. Each worker gathers the whole batch: that costs it a
copy in memory, and spares it any agreement about who reads what.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from harness.data.batches import Batch


class Batches(Protocol):
    """Batches that can be counted."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


def rows(count: int, rank: int, workers: int) -> slice:
    """Return the rows of a worker: `count` dealt out in order, the first workers taking what does not divide."""
    each, more = divmod(count, workers)
    begin = rank * each + min(rank, more)
    return slice(begin, begin + each + (rank < more))


def part(batch: Batch, rank: int, workers: int) -> Batch:
    """Return the rows of a worker, as long as the longest sequence of the whole batch, which goes along with them."""
    own = rows(len(batch.inputs), rank, workers)
    return Batch(
        batch.inputs[own],
        batch.targets[own],
        batch.lengths[own],
        None if batch.resets is None else batch.resets[own],
        batch.advance,
        None if batch.references is None else batch.references[own],
        batch,
        own.start,
    )


class Parts:
    """The parts of every batch that are one worker's. To be scored (`scored`), a part without rows is left out."""

    def __init__(self, batches: Batches, rank: int, workers: int, scored: bool = False) -> None:
        self.batches, self.rank, self.workers, self.scored = batches, rank, workers, scored

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        for number, batch in enumerate(self.batches):
            if self.scored and not number and len(batch.inputs) < self.workers:
                raise ValueError(f"{self.workers} workers have {len(batch.inputs)} rows to score between them")
            own = part(batch, self.rank, self.workers)
            if len(own.inputs) or not self.scored:
                yield own
