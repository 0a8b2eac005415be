"""A few samples of each task, from its records: what was given, what was wanted, and what the best row answered."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.record import Record
from harness.report.table import Row, TaskGroup
from harness.report.words import clean, in_lines, verbatim

MOST_SAMPLES, ENOUGH_LINES = 3, 24
"""Samples of a task, and lines of all of them after which no other one begins."""
MOST_ASKED = 4
"""Trials that are looked at, the best first, before a task is said to have no samples."""
MOST_LINES, MOST_WIDTH = 28, 300
"""Of a text: lines, and characters of a line. A picture of 28 rows is shown whole."""
PARTS = ("given", "wanted", "got")


@dataclass(frozen=True)
class Samples:
    """Samples of one trial. `rows`: PARTS, each several lines at most, without control characters."""

    by: str
    seed: int
    trial_id: str
    rows: list[dict[str, str]]

    @property
    def caption(self) -> str:
        """Say whose answers these are."""
        return f"{self.by}, seed {self.seed}; more by: harness sample {self.trial_id}"


def samples(group: TaskGroup, samples_of: Callable[[Record], str]) -> Samples | None:
    """Return samples of the best row's first trial that has some; None where none of the best few trials has."""
    return next(_found(group, samples_of), None)


def _found(group: TaskGroup, samples_of: Callable[[Record], str]) -> Iterator[Samples]:
    ended = ((row, record) for row in group.rows for record in row.records if record.status == "ok")
    for row, record in itertools.islice(ended, MOST_ASKED):
        if rows := _rows(samples_of(record)):
            yield _samples(row, record, rows)


def _samples(row: Row, record: Record, rows: list[dict[str, str]]) -> Samples:
    return Samples(row.label, record.seed, clean(record.trial_id), rows)


def _rows(told: str) -> list[dict[str, str]]:
    """The stored samples; none where what is stored is no list of them."""
    try:
        stored = json.loads(told or "[]")
        rows = [{part: short(row[part]) for part in PARTS} for row in stored[:MOST_SAMPLES]]
    except (ValueError, TypeError, KeyError):
        return []
    return [row for i, row in enumerate(rows) if len(in_lines(rows[:i])) < ENOUGH_LINES]


def short(text: object) -> str:
    """Return a text of few and short lines; "…" stands for what is left out."""
    lines = verbatim(text).strip("\n").split("\n")
    cut = [line if len(line) <= MOST_WIDTH else f"{line[: MOST_WIDTH - 2]} …" for line in lines[:MOST_LINES]]
    return "\n".join([*cut, "…"] if len(lines) > MOST_LINES else cut)
