"""A hundred thousand made-up records of a wide grid: the scale that a report must bear."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from report_records import ADDING, DIGITS, diverged, record

from harness.record import Record
from harness.trial import Trial

CELLS, WINDOWS, CLIPS = ("elman", "gru", "lstm", "mgu"), (4, 8, 16, 32, None), (None, 0.1, 0.5, 1.0, 5.0)
RATES, SIZES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2), (8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
UPDATES = 393


def trials(seeds: int, sizes: tuple[int, ...] = SIZES) -> Iterator[Trial]:
    """Every trial of the grid, 1,000 variants for each hidden size: the seeds of a variant one after the other."""
    for task, cell, size in itertools.product((DIGITS, ADDING), CELLS, sizes):
        for rate, window, clip in itertools.product(RATES, WINDOWS, CLIPS):
            settings = {"hidden_size": size, "learning_rate": rate, "bptt_length": window, "clip_norm": clip}
            trial = Trial(task=task, cell={"name": cell}, examples=12_570, **settings).normalised()
            yield from (trial.model_copy(update={"seed": seed}) for seed in range(seeds))


def records(seeds: int, sizes: tuple[int, ...] = SIZES) -> Iterator[Record]:
    """A record of each, with the raw series that a real one has; every 20th diverged."""
    for number, trial in enumerate(trials(seeds, sizes)):
        rng = np.random.default_rng(number)
        raw = {"update_seconds": rng.random(UPDATES).tolist(), "gradient_norms": rng.random(UPDATES).tolist()}
        yield diverged(trial, **raw) if number % 20 == 7 else record(trial, **raw)
