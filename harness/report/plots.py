"""The figures of one task: score and throughput by variant, gradient by lag, learning curves, stability maps, tries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.report.looks import Plot, looks_of
from harness.report.plot_floors import floors
from harness.report.plot_lines import curves, gradient
from harness.report.plot_maps import maps
from harness.report.plot_rows import score, throughput
from harness.report.plot_tries import best_of, profile
from harness.report.svg import drawing
from harness.report.table import MachineTable, TaskGroup

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
        found = [
            score(group, rows, looks),
            throughput(rows),
            floors(rows, looks),
            gradient(rows, looks),
            curves(group, rows, looks),
        ]
        found += [maps(group), best_of(group, looks)]
    return [replace(plot, caption=plot.caption + cut) for plot in found if plot]


def across_tasks(table: MachineTable) -> list[Plot]:
    """Return the figures of all tasks of a machine together."""
    with drawing():
        return [plot for plot in [profile(table)] if plot]
