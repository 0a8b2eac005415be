"""The figures of one task: score and throughput by variant, gradient norm by lag, learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.report.looks import Plot, looks_of
from harness.report.plot_lines import curves, gradient
from harness.report.plot_rows import score, throughput
from harness.report.svg import drawing
from harness.report.table import TaskGroup

MOST = 40  # variants in one figure: beyond that nobody can tell them apart


def plots(group: TaskGroup, cells: Sequence[str]) -> list[Plot]:
    """Return the figures of one task that have something to show. `cells`: of all tasks, for equal colours."""
    looks = looks_of(group, cells)
    rows = group.rows[:MOST]
    cut = (
        "" if len(looks.markers) < 2 or any(looks.markers.values()) else " More settings differ than markers can tell."
    )
    cut += f" The first {MOST} of {len(group.rows)} variants, best first." if len(group.rows) > MOST else ""
    with drawing():
        found = [score(group, rows, looks), throughput(rows), gradient(rows, looks), curves(group, rows, looks)]
    return [replace(plot, caption=plot.caption + cut) for plot in found if plot]
