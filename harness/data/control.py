"""The control that must learn nothing from its input: training targets dealt out at random."""

from __future__ import annotations

import dataclasses

import numpy as np

from harness.data.batches import MISSING, due
from harness.tasks.base import Examples, Task


def shuffled(examples: Examples, task: Task, seed: int) -> Examples:
    """Return a training split whose targets were permuted by the seed; what is due stays due, where it was.

    One answer a sequence, or one that is written: whole answers change places. An answer at each step, or symbols
    under CTC, which must fit their input: each changes places with any other. Of the values of a step of which only
    some are due, each changes places with others of its column.
    """
    rng, targets = np.random.default_rng([seed, 2]), np.array(examples.targets)
    if task.written or task.mapping in ("many-to-one", "one-to-one"):
        targets = targets[rng.permutation(len(targets))]
    elif targets.ndim == 3:
        rows_TO = targets.reshape(-1, targets.shape[2])
        whole = due(rows_TO).all(1)
        there = np.flatnonzero(whole)
        rows_TO[there] = rows_TO[rng.permutation(there)]
        for column_T in rows_TO.T:
            some = np.flatnonzero(due(column_T) & ~whole)
            column_T[some] = column_T[rng.permutation(some)]
    else:
        flat = targets.reshape(-1)
        there = np.flatnonzero(flat != MISSING)
        flat[there] = flat[rng.permutation(there)]
    return dataclasses.replace(examples, targets=targets, digest="")
