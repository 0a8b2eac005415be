"""The order in which examples are read, pass after pass over a split, from the seed alone."""

from __future__ import annotations

from harness.late import np
from harness.tasks.base import Examples

POOL = 64
"""Batches among which examples of about one length are put together; each pass draws anew what falls into a pool."""


def by_length(examples: Examples) -> np.ndarray:
    """Return a key (N,) that sorts by steps that are read, then by symbols that are due where an answer is a row."""
    targets = examples.targets
    if targets.ndim != 2 or targets.dtype.kind not in "iu":
        return examples.lengths
    return examples.lengths.astype(np.int64) * (targets.shape[1] + 1) + (targets != -100).sum(1)


class Passes:
    """Shuffled passes over `count` examples; with `lengths` (N,), such that most batches hold examples of one length.

    Batches run across the seam of two passes, so that all are full. Where examples are put together, those of a batch
    that a seam cuts are left as they were drawn. The last pass asked for is kept.
    """

    def __init__(self, count: int, seed: int, batch_size: int = 1, lengths: np.ndarray | None = None) -> None:
        self.count, self.seed, self.batch_size, self.lengths = count, seed, batch_size, lengths
        self._kept: tuple[int, np.ndarray] | None = None

    def order(self, number: int) -> np.ndarray:
        """Return every example once (N,), in the order of this pass."""
        if self._kept is None or self._kept[0] != number:
            rng = np.random.default_rng([self.seed, number])
            order = rng.permutation(self.count)
            self._kept = number, order if self.lengths is None else self._together(order, number, rng)
        return self._kept[1]

    def _together(self, order: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
        assert self.lengths is not None
        size = self.batch_size
        head = -number * self.count % size  # what the batch that began in the pass before still takes
        whole = max(0, self.count - head) // size
        middle = order[head : head + whole * size]
        pools = [middle[start : start + POOL * size] for start in range(0, len(middle), POOL * size)]
        pools = [pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools]
        batches = np.concatenate(pools).reshape(whole, size)[rng.permutation(whole)] if whole else middle
        return np.concatenate([order[:head], batches.reshape(-1), order[head + whole * size :]])

    def between(self, start: int, stop: int) -> np.ndarray:
        """Return the examples at these places of all passes, one after the other."""
        first, last = start // self.count, (stop - 1) // self.count
        parts = [self.order(number) for number in range(first, last + 1)]
        return (parts[0] if first == last else np.concatenate(parts))[
            start - first * self.count : stop - first * self.count
        ]

    def examples_of(self, steps_N: np.ndarray, tokens: int) -> int:
        """Return how many examples of these useful steps, in this order, it takes to reach `tokens`."""
        whole, rest = divmod(tokens, int(steps_N.sum()))
        so_far = steps_N[self.order(whole)].cumsum()
        return whole * self.count + (int(np.searchsorted(so_far, rest)) + 1 if rest else 0)
