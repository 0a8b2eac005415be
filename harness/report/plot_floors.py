"""Throughput against its floors: what each variant reached, and what compute, bandwidth and latency would allow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.report.efficiency import FLOORS, against, ceiling
from harness.report.looks import Looks, Plot
from harness.report.plot_rows import by_row, height
from harness.report.svg import INK, MUTED, draw, rate
from harness.report.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKS = {"compute": "s", "bandwidth": "^", "latency": "D"}


def floors(rows: list[Row], looks: Looks) -> Plot | None:
    """A line a variant, log scale: the rate that was reached, and the rates that the three floors would allow."""
    shown = [row for row in rows if math.isfinite(row.over_seeds("times_floor").center)]
    if not shown:
        return None

    def paint(figure: Figure, axes: Axes) -> None:
        from matplotlib.lines import Line2D

        for y, row in enumerate(shown):
            _line(axes, y, row, looks.colors[row.variant.cell])
        axes.set_xscale("log")
        axes.margins(x=0.12)
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(rate)
        by_row(axes, shown)
        axes.set_xlabel("useful tokens per second, one trial (log scale)")
        marks = [Line2D([], [], linestyle="", marker="o", color=INK, label="reached")]
        marks += [
            Line2D([], [], linestyle="", marker=mark, color=INK, markerfacecolor="none", label=f"{floor} allows")
            for floor, mark in MARKS.items()
        ]
        figure.legend(handles=marks, loc="outside lower center", ncols=4)

    caption = (
        "The circle is what was reached, the filled mark the floor that binds it: nothing goes beyond that on this "
        "machine with such a kernel. The shorter the bar between them, the less is left to gain; where latency binds, "
        "a larger batch is nearly free, and where compute does, only less work helps. Hollow marks are the floors that "
        "do not bind."
    )
    svg = draw(6.6, height(shown) + 0.25 * len(shown), "Throughput against its floors by variant", paint)
    return Plot("Throughput against its floors", caption, svg)


def _line(axes: Axes, y: int, row: Row, color: str) -> None:
    """A variant's circle, its three marks, the one that binds filled, and the bar between."""
    reached = row.over_seeds("tokens_per_second").center
    allowed = {floor: ceiling(row, floor) for floor in FLOORS}
    nearest = min(allowed.values())
    axes.plot([reached, nearest], [y, y], color=color, linewidth=4, alpha=0.3, solid_capstyle="butt")
    axes.plot([reached], [y], "o", color=color)
    for floor, most in allowed.items():
        if math.isfinite(most):
            binds = most == nearest
            axes.plot([most], [y], MARKS[floor], color=INK if binds else MUTED, markersize=5 if binds else 4,
                      markerfacecolor=INK if binds else "none")  # fmt: skip
    told = axes.annotate(against(row), (reached, y), (5, 4), textcoords="offset points", fontsize=7)
    told.set_in_layout(False)
