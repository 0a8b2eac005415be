"""The best variant of a task against each other one, on the same seeds: difference, doubt, and the seeds it takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.report.columns import Column, setting_column
from harness.report.once import once
from harness.report.table import MachineTable, Row, TaskGroup
from harness.report.words import NONE, number, percent
from harness.stats.paired import Paired, paired
from harness.stats.power import seeds_needed
from harness.stats.several import holm

ALPHA = 0.05
"""Chance of one false finding or more among all pairs of variants of a task."""


@dataclass(frozen=True)
class Compared:
    """How much better the best variant is than another: `found.shift` above 0. `p`: corrected. `needed`: seeds with
    which a difference like this one would be found in 80 % of cases, None where these say nothing of it."""

    best: Row
    other: Row
    found: Paired
    p: float
    needed: int | None

    @property
    def significant(self) -> bool:
        """Whether the best one is better beyond what chance would do."""
        return self.p <= ALPHA and self.found.shift > 0

    @property
    def on_every_seed(self) -> bool:
        """Whether it is better on every seed, of two or more."""
        return self.found.n > 1 and self.found.improvement == 1

    @property
    def verdict(self) -> str:
        """In two words."""
        return "worse" if self.significant else "not significant"


@once
def compare(group: TaskGroup) -> list[Compared]:
    """Return the comparisons of a task's best variant, in the order of its rows.

    p is Holm's over all pairs of variants, not only these: the best one was chosen by the same scores. Of variants that
    do not differ, 4 to 14 of them with 10 seeds, one was called better in 6 to 10 % of simulated tables by these
    comparisons alone, and in 0 to 3 % this way.
    """
    best, others = group.rows[0], group.rows[1:]
    found = [paired(_scores(best), _scores(other), group.higher_is_better) for other in others]
    pairs = len(group.rows) * len(others) // 2
    corrected = holm([one.p for one in found], pairs)
    return [
        Compared(best, other, one, p, _needed(best, other, group.higher_is_better))
        for other, one, p in zip(others, found, corrected, strict=True)
    ]


def _scores(row: Row) -> dict[int, float]:
    return {record.seed: score for record, score in zip(row.records, row.scores, strict=True)}


def _needed(best: Row, other: Row, higher_is_better: bool) -> int | None:
    one, two = _scores(best), _scores(other)
    sign = 1 if higher_is_better else -1
    return seeds_needed([sign * (one[s] - two[s]) for s in sorted(one.keys() & two.keys()) if one[s] != two[s]])


def comparison(table: MachineTable, group: TaskGroup | None = None) -> list[Column]:
    """Return the columns of the comparison of a machine's tasks, or of one; none where no task has two variants."""
    groups = [group] if group else table.groups
    found = {id(one.other): one for g in groups for one in compare(g)}
    if not found:
        return []
    keys = group.differing if group else table.differing
    return [
        Column("cell", "cell", "the recurrent cell", lambda r: r.variant.cell, lambda r: r.variant.cell, 0, False),
        *(setting_column(key) for key in keys),
        _column("difference", "behind the best", "by how much the best variant of the task is better, on the same "
                "seeds: Hodges-Lehmann estimate and the interval of Walsh averages", found, _difference,
                lambda c: c.found.shift, 0),
        _column("difference_confidence", "covers", "seeds that both have, and the probability that the interval covers",
                found, lambda c: f"{c.found.n} seeds, {percent(c.found.confidence)}", lambda c: c.found.confidence, 4),
        _column("best_ahead", "best ahead on", "seeds on which the best variant is better, a tie counting half", found,
                lambda c: f"{c.found.improvement * c.found.n:g}/{c.found.n}", lambda c: c.found.improvement, 3),
        _column("p_holm", "p", "exact signed-rank test, corrected by Holm's rule over all pairs of the task's variants",
                found, lambda c: number(c.p, ".3f"), lambda c: c.p, 1),
        _column("against_best", "against the best", f"worse: p is at most {ALPHA}", found, lambda c: c.verdict,
                lambda c: c.p, 1, numeric=False),
        _column("seeds_needed", "seeds needed", "to find a difference like this one in 80 % of cases, were it the only "
                "comparison; from few seeds a hint", found, lambda c: NONE if c.needed is None else f"{c.needed:,}",
                lambda c: math.nan if c.needed is None else float(c.needed), 2),
    ]  # fmt: skip


def _column(
    name: str,
    title: str,
    doc: str,
    found: Mapping[int, Compared],
    text: Callable[[Compared], str],
    sort: Callable[[Compared], float],
    weight: int,
    numeric: bool = True,
) -> Column:
    """A column whose first row, the best one, has nothing to show."""

    def shown(row: Row) -> str:
        one = found.get(id(row))
        return text(one) if one is not None and one.found.n else NONE

    def sorted_by(row: Row) -> float:
        one = found.get(id(row))
        return math.nan if one is None else sort(one)

    return Column(name, title, doc, shown, sorted_by, weight, numeric)


def _difference(one: Compared) -> str:
    form, found = one.best.metric.format, one.found
    ends = [("lost" if math.isinf(value) else number(value, form)) for value in (found.shift, found.low, found.high)]
    return ends[0] if found.n == 1 else f"{ends[0]} [{ends[1]}, {ends[2]}]"
