"""Figures with one curve for each variant: the gradient by lag, and the validation score by examples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.report.looks import Looks, Plot, key, key_lines, legend
from harness.report.svg import INK, draw
from harness.report.table import Row, TaskGroup
from harness.report.words import direction
from harness.stability import GONE
from harness.stats import median

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMALLEST = 1e-9  # of the norm at the smallest lag: what lies below is drawn at the bottom


def gradient(rows: list[Row], looks: Looks) -> Plot | None:
    """One line a variant: |dL/dstate| by lag, relative to the smallest lag, median over seeds, log scale."""
    lines = [(row, list(_relative(row))) for row in rows]
    lines = [(row, points) for row, points in lines if len(points) > 1]
    if not lines:
        return None
    named = key(looks, [row for row, _ in lines])
    drawn = [norm for _, points in lines for _, norm in points if norm > 0]
    bottom, top = max(SMALLEST, min([GONE / 3, *drawn]) / 2), max([3.0, *drawn]) * 2

    def paint(figure: Figure, axes: Axes) -> None:
        for row, points in lines:
            axes.plot([lag for lag, _ in points], [max(norm, bottom / 10) for _, norm in points], **looks.of(row))
        axes.set_yscale("log")
        axes.minorticks_off()
        axes.set_ylim(bottom, top)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("e-0", "e-"))
        axes.axhline(GONE, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate("1 %: gone", (1, GONE), (0, 2), xycoords=("axes fraction", "data"), ha="right",
                      textcoords="offset points", fontsize=8)  # fmt: skip
        axes.set_xlabel("lag: steps back from the loss")
        axes.set_ylabel("|dL/dstate| / at smallest lag")
        legend(figure, named)

    caption = (
        "How much of the gradient is left so many steps back; log scale, the median over seeds, each line relative to "
        "its own smallest lag. Flat keeps it, a straight fall is a constant decay per step, and where a line meets 1 % "
        "is its horizon. Dashes are truncated windows: they end where the window ends."
    )
    return Plot(
        "Gradient through time",
        caption,
        draw(6.6, 3.4 + 0.17 * key_lines(named), "Gradient norm by lag, one line a variant", paint),
    )


def _relative(row: Row) -> Iterator[tuple[int, float]]:
    """Return (lag, norm / norm at the smallest lag), the median over seeds."""
    seeds = [sorted(zip(r.gradient_lags, r.gradient_by_lag, strict=False)) for r in row.records]
    scaled = [{lag: norm / seed[0][1] for lag, norm in seed} for seed in seeds if seed and 0 < seed[0][1] < math.inf]
    for lag in sorted({lag for seed in scaled for lag in seed}):
        value = median(seed[lag] for seed in scaled if lag in seed)
        if math.isfinite(value):
            yield lag, value


def curves(group: TaskGroup, rows: list[Row], looks: Looks) -> Plot | None:
    """Validation score by examples seen, median over the seeds that ended ok."""
    lines = [(row, _curve(row)) for row in rows]
    lines = [(row, points) for row, points in lines if len(points) > 1]
    if not lines:
        return None
    named = key(looks, [row for row, _ in lines])

    def paint(figure: Figure, axes: Axes) -> None:
        for row, points in lines:
            axes.plot([x for x, _ in points], [y for _, y in points], **looks.of(row))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlabel("examples trained on")
        axes.set_ylabel(f"{group.metric.title}, validation")
        legend(figure, named)

    caption = (
        f"Validation {group.metric.title} while training ({direction(group.higher_is_better)}): medians over the seeds "
        "that ended ok. A line still moving at the right end had too small a budget to be judged by its last value."
    )
    return Plot(
        "Learning curves", caption, draw(6.6, 3.4 + 0.17 * key_lines(named), f"Learning curves on {group.name}", paint)
    )


def _curve(row: Row) -> list[tuple[int, float]]:
    seeds = [dict(zip(r.curve_examples, r.curve_valid_score, strict=False)) for r in row.records if r.status == "ok"]
    xs = sorted({x for seed in seeds for x in seed})
    points = [(x, median(seed[x] for seed in seeds if x in seed)) for x in xs]
    return [(x, y) for x, y in points if math.isfinite(y)]
