"""Batches in an order that depends on the seed alone, with a cursor that can be saved.

Not a torch DataLoader: the arrays are in memory, and Lightning resumes a loader exactly only if it has both
`state_dict` and `__len__`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.data.passes import Passes
from harness.late import np
from harness.tasks.base import Examples

if TYPE_CHECKING:
    from torch import Tensor


MISSING = -100
"""A class that is not due."""


class Batch(NamedTuple):
    """One batch of tensors, cut to its longest sequence: inputs (B, T, ...), targets, lengths (B,).

    Of a stream, a batch is one window: `resets` (B,) marks streams that start anew, and `advance` is how many steps
    later the next batch begins (None: all of them). `references`: the right answers as texts, where scores read them.
    Of several workers each has a part: rows from the `first` on, with the `whole` beside them (parts.py).
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor
    resets: Tensor | None = None
    advance: int | None = None
    references: Sequence[Sequence[str]] | None = None
    whole: Batch | None = None
    first: int | None = None

    @property
    def own(self) -> slice:
        """The rows of the whole batch that are here."""
        first = self.first or 0
        return slice(first, first + len(self.lengths))

    @property
    def full(self) -> Batch:
        """The batch that this is a part of: what is counted, and what a mean is over."""
        return self if self.whole is None else self.whole

    @property
    def tokens(self) -> int:
        """Useful steps: the real ones, padding excluded; of a stream the ones that are due, each of them once."""
        if self.resets is None:
            return sum(self.lengths.tolist())
        targets_BTO = self.targets.reshape(*self.targets.shape[:2], -1)
        due_BTO = ~targets_BTO.isnan() if targets_BTO.is_floating_point() else targets_BTO != -100
        return int(due_BTO.any(-1).sum())

    @classmethod
    def of(cls, examples: Examples, index: np.ndarray) -> Batch:
        """Gather rows of a split."""
        lengths = examples.lengths[index]
        longest = int(lengths.max())
        inputs = examples.inputs[index]
        targets = examples.targets[index]
        if inputs.shape[1] > longest:
            # a target of as many steps that goes on beyond every input has steps of its own
            aligned = targets.ndim > 1 and targets.shape[1] == inputs.shape[1] and not due(targets[:, longest:]).any()
            inputs, targets = inputs[:, :longest], targets[:, :longest] if aligned else targets
        texts = examples.references
        references = None if texts is None else [texts[int(row)] for row in index]
        return cls(*tensors(inputs, targets, lengths, examples.scale), references=references)


def tensors(
    inputs: np.ndarray, targets: np.ndarray, lengths: np.ndarray, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what models compute with, of arrays that may be stored in fewer bytes (tasks/base.py: Examples)."""
    import torch

    if scale:
        inputs = inputs.astype(np.float32) * np.float32(scale)
    elif inputs.dtype.kind in "iu":
        inputs = inputs.astype(np.int64, copy=False)
    if targets.dtype == np.int8 and targets.ndim == 3:
        targets = np.where(targets == MISSING, np.float32(np.nan), targets.astype(np.float32))
    elif targets.dtype.kind in "iu":
        targets = targets.astype(np.int64, copy=False)
    x, y, n = (
        torch.from_numpy(np.ascontiguousarray(a)) for a in (inputs, targets, lengths.astype(np.int64, copy=False))
    )
    return x, y, n


class TrainBatches:
    """Every update of a trial: shuffled passes over the training split, one after the other, until the budget.

    Each pass sees every example once. Batches run across the seam of two passes, so all are full but the last.
    """

    dropped = 0
    """Useful steps of the training split that no pass reads."""

    def __init__(self, examples: Examples, batch_size: int, passes: Passes, budget: int) -> None:
        """`budget` counts examples, repeats included."""
        if not len(examples):
            raise ValueError("the training split is empty")
        self.examples, self.batch_size, self.passes, self.budget = examples, batch_size, passes, budget
        self.cursor = 0  # examples handed out

    def __len__(self) -> int:
        return math.ceil(self.budget / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        while self.cursor < self.budget:
            size = min(self.batch_size, self.budget - self.cursor)
            index = self.passes.between(self.cursor, self.cursor + size)
            self.cursor += size
            yield Batch.of(self.examples, index)
        self.cursor = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the cursor, for a checkpoint."""
        return {"cursor": self.cursor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved cursor."""
        self.cursor = state["cursor"]


def due(targets: np.ndarray) -> np.ndarray:
    """Where a target is due: a class of -100 and a NaN value are not."""
    return ~np.isnan(targets) if targets.dtype.kind == "f" else targets != MISSING


class EvalBatches:
    """One pass over a split, shorter examples first, so that little of a batch is padding."""

    def __init__(self, examples: Examples, batch_size: int) -> None:
        self.examples, self.batch_size = examples, batch_size
        self.order = np.argsort(examples.lengths, kind="stable")

    def __len__(self) -> int:
        return math.ceil(len(self.examples) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.examples), self.batch_size):
            yield Batch.of(self.examples, self.order[start : start + self.batch_size])
