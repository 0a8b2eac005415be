"""Figures with one line of the page for each variant: score with its interval, and throughput by kernel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.report.looks import Looks, Plot, short
from harness.report.svg import INK, SERIES, draw, rate
from harness.report.table import Row, TaskGroup
from harness.report.words import direction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def height(rows: list[Row]) -> float:
    """Inches of a figure with a line for each row."""
    return 1.15 + 0.24 * len(rows)


def by_row(axes: Axes, rows: list[Row]) -> None:
    """Give every variant a line of its own, the first on top."""
    axes.set_yticks(range(len(rows)), [short(row.label) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)


def score(group: TaskGroup, rows: list[Row], looks: Looks) -> Plot | None:
    """Seeds as points, the interval as a bar, the median as a stroke, the floor as a line, lost trials as crosses."""
    finite = [r.score for row in rows for r in row.records if r.status == "ok" and math.isfinite(r.score)]
    known = finite + ([group.floor] if math.isfinite(group.floor) else [])
    if not finite:
        return None
    margin = 0.06 * ((max(known) - min(known)) or abs(known[0]) or 1.0)
    left, right = min(known) - margin, max(known) + margin
    higher = group.higher_is_better
    edge = left + margin / 3 if higher else right - margin / 3  # where what is worse than every score is drawn

    def paint(figure: Figure, axes: Axes) -> None:
        axes.set_xlim(left, right)
        for y, row in enumerate(rows):
            color, score = looks.colors[row.variant.cell], row.score
            ends = [min(max(end, left), right) for end in (score.low, score.high)]
            axes.plot(ends, [y, y], color=color, linewidth=5, alpha=0.35, solid_capstyle="butt")
            axes.plot([score.center] * 2, [y - 0.3, y + 0.3], color=color, linewidth=2.2)
            values = [r.score for r in row.records if r.status == "ok"]
            axes.plot(values, [y] * len(values), "o", markersize=4, color=color, markerfacecolor="none")
            lost = len(row.records) - len(values)
            if lost:
                axes.plot([edge], [y], "x", color=INK)
                axes.annotate(f"{lost} lost", (edge, y), (6 if higher else -6, 4), textcoords="offset points",
                              ha="left" if higher else "right", fontsize=7.5)  # fmt: skip
        if math.isfinite(group.floor):
            axes.axvline(group.floor, color=INK, linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate("floor", (group.floor, 1), (0, 2), xycoords=("data", "axes fraction"), ha="center",
                          textcoords="offset points", fontsize=8)  # fmt: skip
        by_row(axes, rows)
        axes.set_xlabel(f"{group.metric.title} ({direction(higher)})")

    better = "right" if higher else "left"
    caption = (
        f"Further {better} is better. Circles are seeds, the stroke is their median, the bar the interval of the "
        "median; what the seeds tell of two variants stands in the comparison with the best. A bar that reaches the "
        "dashed floor has not been shown to learn anything. A cross is a trial that diverged or failed: it counts as "
        "the worst."
    )
    svg = draw(6.6, height(rows), f"{group.name}: {group.metric.title} by variant", paint)
    return Plot(f"{group.metric.title.capitalize()} by variant", caption, svg)


def throughput(rows: list[Row]) -> Plot | None:
    """Bars of the median over seeds, coloured by the kernel that ran."""
    shown = [row for row in rows if math.isfinite(row.over_seeds("tokens_per_second").center)]
    if not shown:
        return None
    names = sorted({" / ".join(sorted(row.kernels)) or "unknown" for row in shown})
    colors = {name: SERIES[-1 - i % len(SERIES)] for i, name in enumerate(names)}

    def paint(figure: Figure, axes: Axes) -> None:
        from matplotlib.patches import Patch

        for y, row in enumerate(shown):
            color = colors[" / ".join(sorted(row.kernels)) or "unknown"]
            axes.barh(y, row.over_seeds("tokens_per_second").center, height=0.6, color=color, alpha=0.45)
            seeds = [r.tokens_per_second for r in row.records if r.status == "ok"]
            axes.plot(seeds, [y] * len(seeds), "o", markersize=3.5, color=color, markerfacecolor="none")
        by_row(axes, shown)
        axes.set_xlim(left=0)
        axes.locator_params(axis="x", nbins=7)
        axes.xaxis.set_major_formatter(rate)
        axes.set_xlabel("useful tokens per second, one trial")
        handles = [Patch(color=color, alpha=0.6, label=short(name, 40)) for name, color in colors.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)))

    caption = (
        "Longer is faster; bars are medians over the seeds that ended ok, circles are the seeds, colours are kernels. "
        "Compare bars of one colour: across colours the kernel is measured as well as the network."
    )
    svg = draw(6.6, height(shown) + 0.2 * -(-len(names) // 3), "Useful tokens per second by variant", paint)
    return Plot("Throughput by variant", caption, svg)
