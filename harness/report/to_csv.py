"""One row a variant as CSV, one a check of a claim, and one a published number: full precision, METRICS names as
headers, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

from harness.report import claimed
from harness.report.build import Report
from harness.report.card import by_position, by_window, first_event
from harness.report.columns import counted
from harness.report.compared import compare
from harness.report.efficiency import FLOORS, bounds, ceiling
from harness.report.once import once
from harness.report.published import COLUMNS, published
from harness.report.scaling import scaled
from harness.report.table import MEASURED, OK_ONLY, MachineTable, Row, TaskGroup
from harness.report.words import NONE, clean
from harness.stats import Summary

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Text that starts so is run as a formula by a spreadsheet."""


def render(report: Report) -> str:
    """Return the CSV text: a header, then one line for each variant and machine; empty cells are not known."""
    found = numbers(report)
    return _text([*found], zip(*found.values(), strict=True))


@once
def numbers(report: Report) -> dict[str, list[object]]:
    """Return the columns by name, with the value of each variant and machine; numbers in full, None: not known."""
    keys = list(dict.fromkeys(key for table in report.machines for key in table.differing))
    found: dict[str, list[object]] = {name: [] for name in ("task", "cell", "metric", "score") if not report.machines}
    count = 0
    for table in report.machines:
        for group in table.groups:
            scaling = scaled(group.rows)
            for row, beside in zip(group.rows, _compared(group), strict=True):
                for name, value in (_cells(table, row, group.name, keys) | scaling(row) | beside).items():
                    column = found.setdefault(name, [])
                    column += [None] * (count - len(column))
                    column.append(value)
                count += 1
    return {name: column + [None] * (count - len(column)) for name, column in found.items()}


def render_claims(report: Report) -> str:
    """Return the CSV text of the claims: a header, then one line for each check and machine."""
    found = [line for table in report.machines for line in claimed.lines(report.findings(table), table.fingerprint)]
    return _text(claimed.COLUMNS, ([line.get(name) for name in claimed.COLUMNS] for line in found))


def render_published(report: Report) -> str:
    """Return the CSV text of published numbers beside ours: a header, then one line for each number and machine."""
    held = [(one, table) for table in report.machines for group in table.groups for one in published(group)]
    lines = (one.line(table.fingerprint) for one, table in held)
    return _text(COLUMNS, ([line[name] for name in COLUMNS] for line in lines))


def _text(names: Sequence[str], lines: Iterable[Iterable[object]]) -> str:
    data = io.BytesIO()  # a quarter of the memory that StringIO takes for tens of megabytes
    out = io.TextIOWrapper(data, "utf-8", "surrogatepass", newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([safe(name) for name in names])
    writer.writerows(map(_cell, line) for line in lines)
    out.flush()
    return data.getvalue().decode("utf-8", "surrogatepass")


def safe(text: str) -> str:
    """Return text that a spreadsheet shows and never runs: a leading apostrophe where it would be a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) or text.startswith(_FORMULA) else text


def _compared(group: TaskGroup) -> list[dict[str, object]]:
    """How each row of a task stands against its best one; nothing of the best itself."""
    best: dict[str, object] = {}
    others: list[dict[str, object]] = [
        {
            "difference": one.found.shift,
            "difference_low": one.found.low,
            "difference_high": one.found.high,
            "difference_confidence": one.found.confidence,
            "best_ahead": one.found.improvement,
            "p": one.found.p,
            "p_holm": one.p,
            "against_best": one.verdict,
            "seeds_needed": one.needed,
        }
        for one in compare(group)
    ]
    return [best, *others]


def _cells(table: MachineTable, row: Row, task: str, keys: list[str]) -> dict[str, object]:
    """Return header -> value of one row. Suffixes: _low, _high: the interval; _confidence: its coverage; _n: trials."""
    ends = row.statuses
    shown = {key: row.variant.shown(key) for key in keys}
    return {
        "task": task,
        "cell": row.variant.cell,
        **{key: "" if text == NONE else _setting(row, key, text) for key, text in shown.items()},
        "metric": row.metric.name,
        "higher_is_better": row.higher_is_better,
        **_summary("score", row.score),
        "score_iqm": row.mean.center,
        "score_iqm_low": row.mean.low,
        "score_iqm_high": row.mean.high,
        "floor": row.floor,
        "beats_floor": row.beats_floor,
        **{key: value for name in row.also for key, value in _summary(name, row.beside(name)).items()},
        **{key: value for name in OK_ONLY[:1] for key, value in _summary(name, row.over_seeds(name)).items()},
        "kernel": counted(row.kernels).replace(NONE, ""),
        "bound": counted(bounds(row)).replace(NONE, ""),
        **{f"ceiling_{floor}": ceiling(row, floor) for floor in FLOORS},
        "padding_share": row.over_seeds("padding_share").center,
        **{key: value for name in MEASURED for key, value in _summary(name, row.over_seeds(name)).items()},
        "gradient_horizon": row.horizon.steps,
        "gradient_horizon_at_least": None if math.isnan(row.horizon.steps) else row.horizon.at_least,
        **_card(row),
        "verdict": counted(row.verdicts),
        **{f"trials_{end}": ends[end] for end in ("ok", "diverged", "failed", "missing")},
        "parameters": None if math.isnan(row.parameters) else int(row.parameters),
        **{key: value for name in OK_ONLY[1:] for key, value in _summary(name, row.over_seeds(name)).items()},
        "fingerprint": clean(table.fingerprint),
        "git_commit": clean(" ".join(sorted({r.git_commit for r in row.records}))),
        "trial_ids": clean(" ".join(r.trial_id for r in row.records)),
        "settings": row.variant.key,
    }


def _card(row: Row) -> dict[str, object]:
    """Lists of the stability card, medians over seeds: by layer, by exponent, by window length."""
    event = first_event(row)
    layers = ("gradient_decay_by_layer", "gradient_horizon_by_layer", "lyapunov")
    windows = {name: by_window(row, name) for name in ("truncation_cosine", "truncation_norm_ratio")}
    return {
        **{name: by_position(row, name) for name in layers},
        "truncation_k": list(windows["truncation_cosine"]),
        **{name: list(found.values()) for name, found in windows.items()},
        "failed_update": event and event.failed_update,
        "failed_layer": event and event.failed_layer and clean(event.failed_layer),
        "failed_step": event and event.failed_step,
    }


def _summary(name: str, found: Summary) -> dict[str, object]:
    parts = {"": found.center, "_low": found.low, "_high": found.high, "_confidence": found.confidence, "_n": found.n}
    return {name + suffix: value for suffix, value in parts.items()}


def _setting(row: Row, key: str, text: str) -> object:
    """A setting as it is stored; "whole" and "none" where it is null."""
    value = row.variant.settings[key]
    return text if value is None or isinstance(value, list | dict) else value


def _cell(value: object) -> object:
    """Text made safe; a float in full (repr), inf for what is lost; nothing for what is not known. Several numbers
    stand in brackets, so that a leading minus is not taken for a formula."""
    if type(value) is float:
        return "" if value != value else repr(value)
    if isinstance(value, list):
        return str(value) if value else ""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return safe(value) if isinstance(value, str) else repr(value)
