"""The columns of the table: name, title, meaning, and what each row shows in it. Every format reads this list."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from harness.metrics import METRICS
from harness.report import scaling
from harness.report.table import Horizon, MachineTable, Row, TaskGroup
from harness.report.words import NONE, arrow, direction, doubt, interval, metric_of, number, percent, setting_title
from harness.stats import Summary

FLOOR = {True: "better", False: "no better than floor", None: NONE}


@dataclass(frozen=True)
class Column:
    """One column. `text`: what a reader sees; `sort`: the number or text behind it (nan sorts last).

    weight: which columns a narrow terminal keeps, small first. numeric: right-aligned.
    """

    name: str
    title: str
    doc: str
    text: Callable[[Row], str]
    sort: Callable[[Row], float | str]
    weight: int
    numeric: bool = True


def columns(table: MachineTable, group: TaskGroup | None = None) -> list[Column]:
    """Return the columns of a machine's table, or of one task in it, then with its own settings and metric title."""
    keys = group.differing if group else table.differing
    title = f"{group.metric.title} {arrow(group.higher_is_better)}" if group else "score"
    wanted = f"{group.metric.doc}; {direction(group.higher_is_better)}" if group else "on the test split"
    return [
        Column("cell", "cell", "the recurrent cell", lambda r: r.variant.cell, lambda r: r.variant.cell, 0, False),
        *(setting_column(key) for key in keys),
        Column(
            "score", title, f"{wanted}; median over seeds and its interval; a lost trial counts as the worst",
            lambda r: interval(r.score, r.metric.format, r.lost), lambda r: r.score.center, 0,
        ),
        Column(
            "score_confidence", "covers", "seeds, and the probability that the interval covers the true median",
            lambda r: doubt(r.score), lambda r: r.score.confidence, 4, False,
        ),
        *([_iqm()] if table.many_seeds else []),
        Column(
            "floor", "floor", "what the best guess that ignores the input scores",
            lambda r: number(r.floor, r.metric.format), lambda r: r.floor, 5,
        ),
        Column(
            "beats_floor", "against floor", "better: the whole interval is better than the floor",
            lambda r: FLOOR[r.beats_floor], lambda r: FLOOR[r.beats_floor], 2, False,
        ),
        *map(also_column, dict.fromkeys(name for row in (group or table).rows for name in row.also)),
        Column(
            "trials", "trials", "how the trials ended; none is dropped",
            statuses, lambda r: r.statuses["ok"] / sum(r.statuses.values()), 2, False,
        ),
        rate_column(1),
        *_scaling((group or table).rows),
        Column(
            "kernel", "kernel", "what unrolled the network over time: kernels differ in speed, not in mathematics",
            lambda r: counted(r.kernels), lambda r: counted(r.kernels), 3, False,
        ),
        Column(
            "verdict", "verdict", "stability by published thresholds, with trials where seeds differ",
            lambda r: counted(r.verdicts), lambda r: counted(r.verdicts), 1, False,
        ),
        median_column("gradient_decay", 3, "decay/step"),
        Column(
            "gradient_horizon", "horizon",
            f"{METRICS['gradient_horizon'].doc}, in steps; ≥ where it is still above 1 % at the largest lag measured, "
            "which is the window at most",
            lambda r: horizon(r.horizon), lambda r: r.horizon.steps, 5,
        ),
        median_column("gradient_norm_median", 6, "|grad| median"),
        median_column("gradient_norm_p99", 7, "|grad| p99"),
        median_column("clipped_share", 6),
        Column(
            "parameters", "parameters", METRICS["parameters"].doc,
            lambda r: number(r.parameters, METRICS["parameters"].format), lambda r: r.parameters, 4,
        ),
        median_column("seconds", 5),
    ]  # fmt: skip


def _iqm() -> Column:
    """Column of the interquartile mean, where there are seeds enough for its interval."""

    def text(row: Row) -> str:
        ends = (row.mean.center, row.mean.low, row.mean.high)
        center, low, high = (row.lost if math.isinf(v) else number(v, row.metric.format) for v in ends)
        return center if math.isnan(row.mean.low) else f"{center} [{low}, {high}]"

    doc = "interquartile mean over seeds: of the middle half of them; its 95 % interval by bootstrap, from 5 seeds on"
    return Column("score_iqm", "IQM", doc, text, lambda r: r.mean.center, 5)


def _scaling(rows: list[Row]) -> list[Column]:
    """Columns of several workers, where some row has them."""
    of = scaling.scaled(rows)

    def column(name: str, title: str, form: str, doc: str) -> Column:
        return Column(name, title, doc, lambda r: number(of(r)[name], form), lambda r: of(r)[name], 2)

    return [column(name, *told) for name, told in scaling.TITLES.items() if any(of(row) for row in rows)]


def also_column(name: str) -> Column:
    """Column of a further score of a task's."""
    metric = metric_of(name)
    return Column(
        name, f"{metric.title} {arrow(metric.better == 'higher')}",
        f"{metric.doc}; median over seeds and its interval; a lost trial counts as the worst",
        lambda r: interval(r.beside(name), metric.format, r.lost) if name in r.also else NONE,
        lambda r: r.beside(name).center if name in r.also else math.nan, 2,
    )  # fmt: skip


def setting_column(key: str) -> Column:
    """Column of a setting that differs."""
    return Column(
        key, setting_title(key), f"setting {key}; {NONE} where it cannot matter",
        lambda r: r.variant.shown(key), lambda r: _order(key, r), 0, False,
    )  # fmt: skip


def _order(key: str, row: Row) -> float | str:
    """Sort settings as numbers where they are; "whole" and "none" beyond every number; what cannot matter last."""
    if row.variant.shown(key) == NONE:
        return math.nan
    value = row.variant.settings[key]
    if value is None:
        return math.inf
    return float(value) if isinstance(value, bool | int | float) else str(value)


def median_column(name: str, weight: int, title: str = "") -> Column:
    """Column of a METRICS number: its median over seeds."""
    metric = METRICS[name]
    return Column(
        name, title or metric.title, f"{metric.doc}; median over seeds",
        lambda r: number(r.over_seeds(name).center, metric.format), lambda r: r.over_seeds(name).center, weight,
    )  # fmt: skip


def rate_column(weight: int) -> Column:
    """Column of the throughput, with how far seeds lie apart: a rate without it looks like one that could be ranked."""
    metric = METRICS["tokens_per_second"]

    def text(row: Row) -> str:
        found = row.over_seeds(metric.name)
        shown = number(found.center, metric.format)
        return f"{shown} ± {apart(found)}" if found.n > 1 and found.center else shown

    doc = f"{metric.doc}; median over seeds ± half the width of its interval"
    return Column(metric.name, metric.title, doc, text, lambda r: r.over_seeds(metric.name).center, weight)


def apart(found: Summary) -> str:
    """Return half the width of an interval as a share of the median: `12 %`, `0.4 %`."""
    share = 50 * (found.high - found.low) / abs(found.center)
    return f"{share:.0f} %" if share >= 9.5 else f"{share:.1f} %"


def horizon(found: Horizon) -> str:
    """Return `12` or `≥ 63`; a bound is rounded down, so that it stays one."""
    form = METRICS["gradient_horizon"].format
    return f"≥ {number(math.floor(found.steps), form)}" if found.at_least else number(found.steps, form)


def counted(found: Counter[str]) -> str:
    """Return the only name, or names with how many trials each: `stable 2, exploding 1`."""
    if len(found) < 2:
        return next(iter(found), NONE)
    return ", ".join(f"{name} {n}" for name, n in found.most_common())


def statuses(row: Row) -> str:
    """Return `3/3 ok`, or `1/3 ok, 1 diverged, 1 not stored`; of the trials asked for where that is known."""
    ends = row.statuses
    told = [f"{ends[s]} {s}" for s in ("diverged", "failed") if ends[s]]
    told += [f"{ends['missing']} not stored"] if ends["missing"] else []
    return ", ".join([f"{ends['ok']}/{sum(ends.values())} ok", *told])


def fitting(room: float, found: list[Column], rows: list[Row], size: Callable[[str], float]) -> list[Column]:
    """Keep the columns that fit side by side, those of small weight first; those of weight 0 always."""
    kept = set()
    for column in sorted(found, key=lambda c: c.weight):
        needed = max(map(size, (column.title, *map(column.text, rows))))
        if column.weight == 0 or needed <= room:
            kept.add(column.name)
            room -= needed
    return [column for column in found if column.name in kept]


def meanings(found: list[Column]) -> list[tuple[str, str]]:
    """Return (title, meaning) of columns, settings left out."""
    return [(column.title, column.doc) for column in found if not column.doc.startswith("setting ")]


def legend(table: MachineTable) -> list[tuple[str, str]]:
    """Return (title, meaning) of each column and of each task's metric, for the notes."""
    worths = sorted({(r.score.n, r.score.confidence) for r in table.rows if r.score.n > 1})
    told = "; ".join(f"{n} seeds cover it with {percent(c)}" for n, c in worths)
    out = []
    for column in columns(table):
        doc = f"{column.doc} ({told})" if column.name == "score_confidence" and told else column.doc
        out.append((column.title, doc))
        if column.name == "score":
            metrics = {g.metric.title: f"{g.metric.doc}; {direction(g.higher_is_better)}" for g in table.groups}
            out += metrics.items()
    return out
