"""The report as one page: everything inline, no network, and no script but our own (by content security policy)."""

from __future__ import annotations

import base64
import hashlib
import itertools
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.metrics import METRICS
from harness.report import notes
from harness.report.build import Report
from harness.report.card import card
from harness.report.claimed import claimed, tally
from harness.report.columns import Column, columns, legend, meanings
from harness.report.compared import comparison
from harness.report.efficiency import efficiency
from harness.report.examples import samples
from harness.report.packed import cell, facets, packed
from harness.report.plots import across_tasks, plots
from harness.report.published import published, why_none
from harness.report.ranked import agreement, rankings
from harness.report.searched import searched
from harness.report.table import MachineTable, Row, TaskGroup
from harness.report.words import arrow, clean, direction, number

HERE = Path(__file__).parent
MOST_TRIALS = 1_000  # rows of the list of trials; the CSV and the store hold the rest
PAGE = 100
"""Rows of a task that stand in the page; of a task with more, the others are packed and shown a page at a time."""


def render(report: Report) -> str:
    """Return the page."""
    script, style = _file("page.js.j2"), _file("page.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _environment().get_template("page.html.j2").render(
        report=report,
        machines=[_machine(report, table) for table in report.machines],
        page_size=PAGE,
        script=Markup(script),
        style=Markup(style),
        script_hash=f"sha256-{digest}",
    )  # fmt: skip


@cache
def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _machine(report: Report, table: MachineTable) -> dict[str, Any]:
    """Return what the template shows of one machine, as text and lists alone."""
    findings = report.findings(table)
    beside = comparison(table)
    shown = {"score": columns(table), "comparison": beside, "stability": card(table), "efficiency": efficiency(table)}
    shown = {name: found for name, found in shown.items() if found}
    cells = sorted({row.variant.cell for row in table.rows})
    return {
        "title": clean(table.fingerprint) or "unnamed machine",
        "claims": claimed(findings),
        "tally": tally(findings),
        "answers": report.answers(table),
        **{
            name: _table(table, shown[name]) if name in shown else None
            for name in ("score", "comparison", "stability", "efficiency")
        },
        "packed": packed(table, list(shown.values())) if any(len(g.rows) > PAGE for g in table.groups) else "",
        "rankings": (ranked := rankings(table, report.matched)),
        "agreement": agreement(ranked) + searched(table),
        "filters": _filters(table),
        "rows": len(table.rows),
        "held": table.held,
        "legends": [
            ("Columns", legend(table)),
            ("Columns of the comparison", meanings(beside)),
            ("Columns of stability", meanings(shown["stability"])),
            ("Columns of efficiency", meanings(shown.get("efficiency", []))),
        ],
        "reading": notes.reading(table, bool(findings)) + notes.unfinished(report, table),
        "published": [(group.name, published(group), why_none(group)) for group in table.groups],
        "samples": [(group.name, found) for group in table.groups if (found := samples(group, report.samples_of))],
        "troubles": notes.troubles(table),
        "plots": [("all tasks", across_tasks(table)), *((group.name, plots(group, cells)) for group in table.groups)],
        "trials": _trials(table),
        "records": len(table.records),
        "origin": notes.origin(table),
    }


def _table(table: MachineTable, found: list[Column]) -> dict[str, Any]:
    return {"columns": found, "groups": [_group(group, found) for group in table.groups]}


def _group(group: TaskGroup, found: list[Column]) -> dict[str, Any]:
    return {
        "name": group.name,
        "metric": f"{group.metric.title} {arrow(group.higher_is_better)} {direction(group.higher_is_better)}",
        "floor": number(group.floor, group.metric.format),
        "settings": group.settings,
        "rows": [_row(group, row, found) for row in group.rows[:PAGE]],
        "total": len(group.rows),
    }


def _row(group: TaskGroup, row: Row, found: list[Column]) -> dict[str, Any]:
    """Return the cells of one row and what it is filtered by."""
    return {
        "facets": facets(group, row),
        "cells": [dict(zip(("text", "sort", "badge"), cell(column, row), strict=True)) for column in found],
    }


def _filters(table: MachineTable) -> dict[str, list[str]]:
    """Return the choices of each filter; one choice is none."""
    choices = {
        "task": [group.name for group in table.groups],
        "cell": sorted({row.variant.cell for row in table.rows}),
        "verdict": sorted({name for row in table.rows for name in row.verdicts}),
    }
    return {name: values for name, values in choices.items() if len(values) > 1}


def _trials(table: MachineTable) -> list[list[str]]:
    """Return the first records behind the table: what each number can be traced to."""
    every = ((group, row, record) for group in table.groups for row in group.rows for record in row.records)
    out = []
    for group, row, r in itertools.islice(every, MOST_TRIALS):
        shown = [number(getattr(r, name), METRICS[name].format) for name in ("tokens_per_second", "seconds")]
        score = number(r.score, group.metric.format)
        out.append([r.trial_id, group.name, row.label, str(r.seed), r.status, score, r.verdict, *shown])
    return [[clean(text) for text in line] for line in out]
