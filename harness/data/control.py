"""The control that must learn nothing from its input: training targets dealt out at random."""

from __future__ import annotations

import dataclasses

import numpy as np

from harness.data.batches import MISSING, due
from harness.tasks.base import Examples, Task


def shuffled(examples: Examples, task: Task, seed: int) -> Examples:
    """Return a training split whose targets were permuted by the seed; what is due stays due, where it was.

    One answer a sequence, or one that is written: whole answers change places. An answer at each step, or symbols
    under CTC, which must fit their input: each changes places with any other.
    """
    rng, targets = np.random.default_rng([seed, 2]), np.array(examples.targets)
    if task.written or (targets.ndim < 3 and targets.shape[1:] != examples.inputs.shape[1:2] and not task.shape.blank):
        targets = targets[rng.permutation(len(targets))]
    elif targets.ndim == 3:
        rows_TO = targets.reshape(-1, targets.shape[2])
        there = np.flatnonzero(due(rows_TO).all(1))
        rows_TO[there] = rows_TO[rng.permutation(there)]
    else:
        flat = targets.reshape(-1)
        there = np.flatnonzero(flat != MISSING)
        flat[there] = flat[rng.permutation(there)]
    return dataclasses.replace(examples, targets=targets, digest="")
