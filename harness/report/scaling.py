"""How much faster several workers are than one: against the row of the same settings with `workers: 1`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

from harness.report.table import Row

WORKERS = "workers"
TITLES = {
    "speedup": ("speed-up", ".2f", "useful tokens/s over those of the same settings with one worker"),
    "efficiency": ("efficiency", ".0%", "the speed-up over the number of workers"),
    "communication": ("communication", ".1%", "share of training in which a worker waits for the gradients of all"),
}
"""Name -> title, format and meaning of each number."""


def workers(row: Row) -> int:
    """Return how many workers trained each trial of a row."""
    return int(row.variant.settings.get(WORKERS, 1))


def scaled(rows: Sequence[Row]) -> Callable[[Row], dict[str, float]]:
    """Return what tells these numbers of one of the rows, from medians over seeds: nothing where no row has several
    workers, nan where there is no row to hold it against."""
    if all(workers(row) == 1 for row in rows):
        return lambda row: {}
    alone = {_but_workers(row): _rate(row) for row in rows if workers(row) == 1}

    def found(row: Row) -> dict[str, float]:
        speedup = _rate(row) / alone.get(_but_workers(row), math.nan)
        waits = row.over_seeds("communication_seconds").center / row.over_seeds("train_seconds").center
        return {"speedup": speedup, "efficiency": speedup / workers(row), "communication": waits}

    return found


def _but_workers(row: Row) -> str:
    """One text for rows that differ in their workers alone."""
    return json.dumps({name: value for name, value in row.variant.settings.items() if name != WORKERS}, sort_keys=True)


def _rate(row: Row) -> float:
    return row.over_seeds("tokens_per_second").center
