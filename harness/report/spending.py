"""Where each second goes: of the trials of each task and cell, and of the commands that ran them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from harness.record import Record
from harness.spent import OUTSIDE, PHASES

UPDATES = "updates"
WITHIN = {
    UPDATES: "batch, forward, backward, clip, step",
    "warm-up": "what the first update takes above the median",
    "looks": "what updates take above the median at which probes look closer",
    "lightning": "what Lightning does around updates",
}
"""What `train` is made of, by the seconds of each update."""


@dataclass(frozen=True)
class Row:
    """Seconds by phase, over all trials of a task and a cell."""

    name: str
    trials: int
    seconds: Mapping[str, float]

    @property
    def total(self) -> float:
        """All of it."""
        return math.fsum(self.seconds.values())


def of_record(record: Record) -> dict[str, float]:
    """Return the seconds of a trial by phase: they add up to those of its record, and what calibration took, where it
    was counted with them."""
    found = dict(zip(record.spent_names, record.spent_seconds, strict=True))
    train = found.pop("train", 0.0) or (record.train_seconds if record.train_seconds == record.train_seconds else 0.0)
    parts = dict.fromkeys(WITHIN, 0.0)
    if times := record.update_seconds:
        every = record.settings()["probe_every"]
        usual = median(times[record.warmup_updates :] or times)
        parts["warm-up"] = max(0.0, times[0] - usual)
        looks = (s for k, s in enumerate(times) if k and (k < 5 or k % every == 0))
        parts["looks"] = sum(max(0.0, s - usual) for s in looks)
        parts[UPDATES] = math.fsum(times) - parts["warm-up"] - parts["looks"]
        parts["lightning"] = max(0.0, train - math.fsum(times))
    else:
        parts[UPDATES] = train
    found.pop("rest", None)
    known = math.fsum(parts.values()) + math.fsum(found.values()) - found.get("calibrate", 0.0)  # after its clock stops
    return {**parts, **found, "rest": max(0.0, record.seconds - known)}


def rows(records: Iterable[Record]) -> list[Row]:
    """Return a row for each task and cell, and one for all."""
    groups: dict[str, list[dict[str, float]]] = {}
    for record in records:
        if math.isfinite(record.seconds):
            groups.setdefault(f"{record.task} {record.cell}", []).append(of_record(record))
    found = [Row(name, len(own), _sum(own)) for name, own in sorted(groups.items())]
    return [*found, Row("all", sum(row.trials for row in found), _sum(row.seconds for row in found))]


def _sum(parts: Iterable[Mapping[str, float]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return total


def phases(found: Sequence[Row]) -> list[str]:
    """Return the phases that took any time, in the order of a trial."""
    order = [name for phase in PHASES for name in (WITHIN if phase == "train" else (phase,))]
    return [name for name in order if found[-1].seconds.get(name, 0.0) > 0]


def command(told: Mapping[str, Any], own: float, updates: float) -> dict[str, float]:
    """Return the seconds of a command's slots by what they were spent on, and `goodput`, the share of them that went
    into updates. `own`: seconds of its trials by their records, `updates`: of these, those of updates."""
    slots = told["slots"] * told["wall"]
    outside = {name: told["spent"].get(name, 0.0) for name in OUTSIDE}
    idle = max(0.0, slots - own - sum(outside.values()))
    return {"wall": told["wall"], "slots": told["slots"], "trials": own, **outside, "idle": idle,
            "goodput": updates / slots if slots else math.nan}  # fmt: skip
