"""A hundred thousand made-up records of a wide grid: the scale that a report must bear."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from report_records import ADDING, DIGITS, LIMITS, diverged, record

from harness.record import Record
from harness.trial import Trial

CELLS, WINDOWS, CLIPS = ("elman", "gru", "lstm", "mgu"), (4, 8, 16, 32, None), (None, 0.1, 0.5, 1.0, 5.0)
RATES, SIZES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2), (8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
UPDATES = 393
VARIED = (
    "score", "valid_score", "train_loss", "tokens_per_second", "train_seconds", "seconds", "gradient_norm_median",
    "gradient_norm_p99", "gradient_norm_max", "gradient_norm_after_median", "clipped_share", "gradient_decay",
    "predicted_decay", "update_ratio_median",
)  # fmt: skip
"""Numbers that differ from record to record, as real ones do: equal ones would pack too well."""


def trials(seeds: int, sizes: tuple[int, ...] = SIZES) -> Iterator[Trial]:
    """Every trial of the grid, 1,000 variants for each hidden size: the seeds of a variant one after the other."""
    for task, cell, size in itertools.product((DIGITS, ADDING), CELLS, sizes):
        for rate, window, clip in itertools.product(RATES, WINDOWS, CLIPS):
            settings = {"hidden_size": size, "learning_rate": rate, "bptt_length": window, "clip_norm": clip}
            trial = Trial(task=task, cell={"name": cell}, examples=12_570, **settings).normalised()
            yield from (trial.model_copy(update={"seed": seed}) for seed in range(seeds))


def records(seeds: int, sizes: tuple[int, ...] = SIZES) -> Iterator[Record]:
    """A record of each, with the raw series that a real one has, and what it knows of the machine's limits; every 20th
    diverged."""
    for number, trial in enumerate(trials(seeds, sizes)):
        rng = np.random.default_rng(number)
        raw = {"update_seconds": rng.random(UPDATES).tolist(), "gradient_norms": rng.random(UPDATES).tolist()}
        made = diverged(trial, **raw) if number % 20 == 7 else record(trial, **raw, **LIMITS)
        factors = 1 + 0.02 * rng.standard_normal(len(VARIED))
        yield made.replace(**{name: getattr(made, name) * f for name, f in zip(VARIED, factors.tolist(), strict=True)})
