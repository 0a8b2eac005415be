"""How much faster several workers are than one: against the row of the same settings with `workers: 1`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

from harness.report.table import Row
from harness.report.words import interval
from harness.stats import Summary, summary

WORKERS = "workers"
TITLES = {
    "speedup": (
        "speed-up",
        ".2f",
        "useful tokens/s over those of the same settings with one worker, on the same seeds",
    ),
    "efficiency": ("efficiency", ".0%", "the speed-up over the number of workers"),
    "communication": ("communication", ".1%", "share of training in which a worker waits for the gradients of all"),
}
"""Name -> title, format and meaning of each number."""


def workers(row: Row) -> int:
    """Return how many workers trained each trial of a row."""
    return int(row.variant.settings.get(WORKERS, 1))


def scaled(rows: Sequence[Row]) -> Callable[[Row], dict[str, float]]:
    """Return what tells these numbers of one of the rows, medians over seeds: nothing where no row has several
    workers, nan where there is no row to hold it against."""
    if all(workers(row) == 1 for row in rows):
        return lambda row: {}
    alone = _alone(rows)

    def found(row: Row) -> dict[str, float]:
        speedup = _speedup(row, alone).center
        waits = row.over_seeds("communication_seconds").center / row.over_seeds("train_seconds").center
        return {"speedup": speedup, "efficiency": speedup / workers(row), "communication": waits}

    return found


def told(rows: Sequence[Row]) -> str:
    """Say how much faster several workers were, with the interval over seeds; nothing where no row can tell."""
    if all(workers(row) == 1 for row in rows):
        return ""
    alone, said = _alone(rows), []
    for row in sorted(rows, key=workers):
        speedup = _speedup(row, alone)
        if workers(row) > 1 and speedup.n:
            said.append(f"{row.label} is {interval(speedup, '.2f')} times as fast")
    return f"beside one worker, in useful tokens/s on the same seeds: {', '.join(said)}." if said else ""


def _alone(rows: Sequence[Row]) -> dict[str, Row]:
    """Rows of one worker, by everything else."""
    return {_but_workers(row): row for row in rows if workers(row) == 1}


def _speedup(row: Row, alone: dict[str, Row]) -> Summary:
    """Ratios of useful tokens/s over those of one worker on the same seed, of trials that both ended ok."""
    one = alone.get(_but_workers(row))
    base = {r.seed: r.tokens_per_second for r in one.records if r.status == "ok"} if one else {}
    pairs = [(r.tokens_per_second, base.get(r.seed, math.nan)) for r in row.records if r.status == "ok"]
    return summary([several / single for several, single in pairs if several > 0 and single > 0], True)


def _but_workers(row: Row) -> str:
    """One text for rows that differ in their workers alone."""
    return json.dumps({name: value for name, value in row.variant.settings.items() if name != WORKERS}, sort_keys=True)
