"""What more tries give: the expected best of k settings by cell, and cells across tasks."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from harness.report.looks import Looks, Plot
from harness.report.once import once
from harness.report.svg import SERIES, draw
from harness.report.table import MachineTable, Row, TaskGroup
from harness.report.words import direction
from harness.stats import worst
from harness.stats.profile import performance_profile
from harness.stats.tries import BestOf, expected_best, overtakes
from harness.trial import key_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEWEST_TRIES, FEWEST_TASKS = 4, 3
FACTORS = [1 + i / 100 for i in range(201)]
MOST_ERROR = {"bleu": 100.0}
"""Best value of metrics that are better when higher; 1 of every other."""


@once
def tries(group: TaskGroup) -> dict[str, BestOf]:
    """Return cell -> expected best of k of its trials, chosen by validation; cells with several settings alone."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    settings: dict[str, set[str]] = defaultdict(set)
    bad = worst(group.higher_is_better)
    for row in group.rows:
        settings[row.variant.cell].add(row.variant.key)
        for record, score in zip(row.records, row.scores, strict=True):
            valid = record.valid_score
            found[row.variant.cell].append((bad if math.isinf(score) or math.isnan(valid) else valid, score))
    for record in group.stopped:  # a try all the same, of which nobody knows what it would have come to
        found[record.cell].append((bad, bad))
        settings[record.cell].add(record.trial_id)
    kept = [cell for cell in found if len(settings[cell]) > 1 and len(found[cell]) >= FEWEST_TRIES]
    return {cell: expected_best(found[cell], group.higher_is_better) for cell in kept}


def best_of(group: TaskGroup, looks: Looks) -> Plot | None:
    """One line a cell: the test score to expect of the best of k of its trials."""
    lines = {cell: best for cell, best in tries(group).items() if any(map(math.isfinite, best.expected))}
    if len(lines) < 2:
        return None

    def paint(figure: Figure, axes: Axes) -> None:
        from matplotlib.ticker import LogLocator

        for cell, best in lines.items():
            color = looks.colors[cell]
            points = [(k, value) for k, value in zip(best.k, best.expected, strict=True) if math.isfinite(value)]
            axes.plot([k for k, _ in points], [v for _, v in points], color=color, label=cell)
            band = [(k, lo, hi) for k, lo, hi in zip(best.k, best.low, best.high, strict=True) if math.isfinite(lo)]
            if band:
                axes.fill_between(*zip(*band, strict=True), color=color, alpha=0.15, linewidth=0)  # type: ignore[arg-type]
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.minorticks_off()
        axes.set_xlabel("tries: trials of a cell, any setting and seed of its grid")
        axes.set_ylabel(f"expected {group.metric.title}")
        figure.legend(loc="outside lower center", ncols=min(4, len(lines)))

    caption = (
        f"The test {group.metric.title} to expect ({direction(group.higher_is_better)}) of the best of k trials of "
        "this grid, chosen on the validation split. A cell ahead on the left needs little tuning; one that overtakes "
        f"further right repays it. {crossings(lines, group.higher_is_better)} A band is a 95 % interval, where the "
        "trials are enough for one; a line begins where no trial that was lost can be the best."
    )
    return Plot("Expected best of k tries", caption, draw(6.6, 3.6, f"Expected best of k tries on {group.name}", paint))


def crossings(lines: dict[str, BestOf], higher_is_better: bool) -> str:
    """Say from how many tries on which cell overtakes which."""
    found = []
    for one, best in lines.items():
        for other, beside in lines.items():
            k = overtakes(best, beside, higher_is_better) if one != other else None
            found += [f"{one} overtakes {other} from {k} tries on"] if k else []
    return "; ".join(found) + "." if found else "No cell overtakes another for good."


def profile(table: MachineTable) -> Plot | None:
    """Cells across tasks: the share of tasks on which a cell's best variant comes within a factor of the best error."""
    errors: dict[str, dict[str, float]] = defaultdict(dict)
    for group in table.groups:
        for row in group.rows:  # the first of a cell is the best one on the validation split
            errors[row.variant.cell].setdefault(group.name, _error(row))
    tasks = [group.name for group in table.groups if all(group.name in by_task for by_task in errors.values())]
    shared = {cell: {task: by_task[task] for task in tasks} for cell, by_task in errors.items()}
    if len(tasks) < FEWEST_TASKS or len(shared) < 2:
        return None
    curves = performance_profile(shared, FACTORS)

    def paint(figure: Figure, axes: Axes) -> None:
        for i, (cell, shares) in enumerate(sorted(curves.items())):
            axes.step(FACTORS, shares, where="post", color=SERIES[i % len(SERIES)], label=cell)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("error over the best cell's error")
        axes.set_ylabel(f"share of {len(tasks)} tasks")
        figure.legend(loc="outside lower center", ncols=min(4, len(curves)))

    caption = (
        f"For each cell the share of {len(tasks)} tasks on which the median error of its best variant is at most so "
        "many times the best cell's. At the left end: how often it is the best; the sooner a line reaches the top, the "
        "less is lost by using that cell for everything. Error: the score where lower is better, else 1 less the score."
    )
    return Plot("Cells across tasks", caption, draw(6.6, 3.4, "Performance profile of cells", paint))


def _error(row: Row) -> float:
    """Median error above 0, lower is better."""
    score = row.score.center
    if math.isinf(score) or math.isnan(score):
        return math.inf
    error = MOST_ERROR.get(row.metric.name, 1.0) - score if row.higher_is_better else score
    return max(error, 1e-9)


def effort(table: MachineTable) -> list[str]:
    """Say how many settings each cell was tried with on each task, where they are not equally many."""
    lines = []
    for group in table.groups:
        counts: dict[str, set[str]] = defaultdict(set)
        for row in group.rows:
            counts[row.variant.cell].add(row.variant.key)
        for record in group.stopped:
            counts[record.cell].add(key_of(record.settings()))
        if len({len(found) for found in counts.values()}) > 1:
            each = ", ".join(f"{cell} {len(found)}" for cell, found in sorted(counts.items()))
            told = (
                f"{group.name}: cells were tried with unequally many settings ({each}), and more tries find a better "
            )
            lines.append(f"{told}best one: compare single variants, or the expected best of equally many tries.")
    return lines
