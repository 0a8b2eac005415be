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

_NONE = (None,) * len(Summary._fields)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Text that starts so is run as a formula by a spreadsheet."""


def render(report: Report) -> str:
    """Return the CSV text: a header, then one line for each variant and machine; empty cells are not known."""
    found = numbers(report)
    return _text([*found], zip(*map(_texts, found.values()), strict=True))


@once
def numbers(report: Report) -> dict[str, list[object]]:
    """Return the columns by name, with the value of each variant and machine; numbers in full, None: not known."""
    keys = list(dict.fromkeys(key for table in report.machines for key in table.differing))
    found: dict[str, list[object]] = {name: [] for name in ("task", "cell", "metric", "score") if not report.machines}
    count = 0
    for table in report.machines:
        for group in table.groups:
            for name, values in _columns(table, group, keys).items():
                column = found.setdefault(name, [])
                column += [None] * (count - len(column))
                column += values
            count += len(group.rows)
    return {name: column + [None] * (count - len(column)) for name, column in found.items()}


def render_claims(report: Report) -> str:
    """Return the CSV text of the claims: a header, then one line for each check and machine."""
    found = [line for table in report.machines for line in claimed.lines(report.findings(table), table.fingerprint)]
    return _text(claimed.COLUMNS, ([_cell(line.get(name)) for name in claimed.COLUMNS] for line in found))


def render_published(report: Report) -> str:
    """Return the CSV text of published numbers beside ours: a header, then one line for each number and machine."""
    held = [(one, table) for table in report.machines for group in table.groups for one in published(group)]
    lines = (one.line(table.fingerprint) for one, table in held)
    return _text(COLUMNS, ([_cell(line[name]) for name in COLUMNS] for line in lines))


def _text(names: Sequence[str], lines: Iterable[Iterable[object]]) -> str:
    data = io.BytesIO()  # a quarter of the memory that StringIO takes for tens of megabytes
    out = io.TextIOWrapper(data, "utf-8", "surrogatepass", newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([safe(name) for name in names])
    writer.writerows(lines)
    out.flush()
    return data.getvalue().decode("utf-8", "surrogatepass")


def safe(text: str) -> str:
    """Return text that a spreadsheet shows and never runs: a leading apostrophe where it would be a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) or text.startswith(_FORMULA) else text


Columns = dict[str, Iterable[object]]
"""Header -> the value of each row of a task."""


def _columns(table: MachineTable, group: TaskGroup, keys: list[str]) -> Columns:
    """Return the columns of a task. Suffixes: _low, _high: the interval; _confidence: its coverage; _n: trials."""
    rows = group.rows
    also = dict.fromkeys(name for row in rows for name in row.also)
    return {
        "task": [group.name] * len(rows),
        "cell": [row.variant.cell for row in rows],
        **{key: [_setting(row, key) for row in rows] for key in keys},
        "metric": [row.metric.name for row in rows],
        "higher_is_better": [row.higher_is_better for row in rows],
        **_summaries("score", (row.score for row in rows)),
        **_parts("score_iqm", ("", "_low", "_high"), (row.mean[:3] for row in rows)),
        "floor": [row.floor for row in rows],
        "beats_floor": [row.beats_floor for row in rows],
        **_merged(_summaries(name, (row.beside(name) if name in row.also else _NONE for row in rows)) for name in also),
        **_merged(_medians(rows, name) for name in OK_ONLY[:1]),
        "kernel": [counted(row.kernels).replace(NONE, "") for row in rows],
        "bound": [counted(bounds(row)).replace(NONE, "") for row in rows],
        **{f"ceiling_{floor}": [ceiling(row, floor) for row in rows] for floor in FLOORS},
        "padding_share": [row.over_seeds("padding_share").center for row in rows],
        **_merged(_medians(rows, name) for name in MEASURED),
        "gradient_horizon": [row.horizon.steps for row in rows],
        "gradient_horizon_at_least": [
            None if math.isnan(row.horizon.steps) else row.horizon.at_least for row in rows
        ],
        **_card(rows),
        "verdict": [counted(row.verdicts) for row in rows],
        **{f"trials_{end}": [row.statuses[end] for row in rows] for end in ("ok", "diverged", "failed", "missing")},
        "parameters": [None if math.isnan(row.parameters) else int(row.parameters) for row in rows],
        **_merged(_medians(rows, name) for name in OK_ONLY[1:]),
        "fingerprint": [clean(table.fingerprint)] * len(rows),
        "git_commit": [clean(" ".join(sorted({r.git_commit for r in row.records}))) for row in rows],
        "trial_ids": [clean(" ".join(r.trial_id for r in row.records)) for row in rows],
        "settings": [row.variant.key for row in rows],
        **_scaling(rows),
        **_compared(group),
    }  # fmt: skip


def _card(rows: Sequence[Row]) -> Columns:
    """Lists of the stability card, medians over seeds: by layer, by exponent, by window length."""
    events = [first_event(row) for row in rows]
    layers = ("gradient_decay_by_layer", "gradient_horizon_by_layer", "lyapunov")
    windows = ("truncation_cosine", "truncation_norm_ratio")
    return {
        **{name: [by_position(row, name) for row in rows] for name in layers},
        "truncation_k": [list(by_window(row, "truncation_cosine")) for row in rows],
        **{name: [list(by_window(row, name).values()) for row in rows] for name in windows},
        "failed_update": [event and event.failed_update for event in events],
        "failed_layer": [event and event.failed_layer and clean(event.failed_layer) for event in events],
        "failed_step": [event and event.failed_step for event in events],
    }


def _scaling(rows: Sequence[Row]) -> Columns:
    """What several workers gained, where some row has them."""
    found = list(map(scaled(rows), rows))
    return {name: [one[name] for one in found] for name in found[0]}


def _compared(group: TaskGroup) -> Columns:
    """How each row of a task stands against its best one; nothing of the best itself, which is the first."""
    found = compare(group)
    names = ("", "_low", "_high", "_confidence")
    columns: Columns = {
        **_parts("difference", names, (one.found[:4] for one in found)),
        "best_ahead": [one.found.improvement for one in found],
        "p": [one.found.p for one in found],
        "p_holm": [one.p for one in found],
        "against_best": [one.verdict for one in found],
        "seeds_needed": [one.needed for one in found],
    }
    return {name: [None, *values] for name, values in columns.items()} if found else {}


def _medians(rows: Sequence[Row], name: str) -> Columns:
    return _summaries(name, (row.over_seeds(name) for row in rows))


def _summaries(name: str, found: Iterable[Iterable[object]]) -> Columns:
    return _parts(name, ("", "_low", "_high", "_confidence", "_n"), found)


def _parts(name: str, suffixes: Sequence[str], found: Iterable[Iterable[object]]) -> Columns:
    """Tuples, one a row, as a column for each of their parts."""
    return dict(zip((name + suffix for suffix in suffixes), zip(*found, strict=True), strict=False))


def _merged(parts: Iterable[Columns]) -> Columns:
    return {name: values for part in parts for name, values in part.items()}


def _setting(row: Row, key: str) -> object:
    """A setting as it is stored; "whole" and "none" where it is null; nothing where it cannot matter."""
    text = row.variant.shown(key)
    if text == NONE:
        return ""
    value = row.variant.settings[key]
    return text if value is None or isinstance(value, list | dict) else value


def _texts(values: Sequence[object]) -> Iterable[object]:
    """The cells of a column; of floats, which most are, nothing but what is not known is made text here."""
    if set(map(type, values)) == {float}:
        return ("" if value != value else value for value in values)
    return map(_cell, values)


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
