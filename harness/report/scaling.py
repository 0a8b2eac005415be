"""How much faster several workers are than one: against the row of the same settings with `workers: 1`, and by what
each trial of several found out by itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence

from harness.metrics import METRICS
from harness.report.table import Row
from harness.report.words import interval
from harness.stats import Summary, summary

WORKERS = "workers"
OWN = METRICS["scaling_efficiency"]
TITLES = {
    "speedup": (
        "speed-up",
        ".2f",
        "useful tokens/s over those of the same settings with one worker, on the same seeds",
    ),
    "efficiency": ("efficiency", ".0%", "the speed-up over the number of workers"),
    OWN.name: (OWN.title, OWN.format, f"{OWN.doc}; median over seeds"),
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
        own = row.over_seeds(OWN.name).center
        return {"speedup": speedup, "efficiency": speedup / workers(row), OWN.name: own, "communication": waits}

    return found


def told(rows: Sequence[Row]) -> str:
    """Say how much faster several workers were, with the interval over seeds; nothing where no row can tell."""
    alone, several = _alone(rows), sorted((row for row in rows if workers(row) > 1), key=workers)
    paired = _said((row, _speedup(row, alone)) for row in several)
    if paired:
        return f"beside one worker, in useful tokens/s on the same seeds: {paired}."
    own = _said((row, row.over_seeds("speed_up")) for row in several)
    return f"beside one of its workers alone, in useful tokens/s, by its own measure: {own}." if own else ""


def _said(found: Iterable[tuple[Row, Summary]]) -> str:
    return ", ".join(f"{row.label} is {interval(gain, '.2f')} times as fast" for row, gain in found if gain.n)


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
