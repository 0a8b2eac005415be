"""The report as GitHub Markdown: one table a task, notes below."""

from __future__ import annotations

import re

from harness.report import notes
from harness.report.build import Report
from harness.report.card import card
from harness.report.claimed import Claimed, claimed, tally
from harness.report.columns import Column, columns, legend, meanings
from harness.report.compared import comparison
from harness.report.efficiency import efficiency
from harness.report.examples import samples
from harness.report.published import published, why_none
from harness.report.ranked import Ranking, agreement, rankings
from harness.report.searched import searched
from harness.report.table import MachineTable, TaskGroup
from harness.report.words import direction, in_lines, number

MOST_ROWS = 200  # of a task: who reads Markdown reads no more
_SPECIAL = re.compile(r"[\\`*|~$&<>]|\](?=[(\[:])|(?<!\w)_|_(?!\w)")


def escape(text: str) -> str:
    """Return text on one line that Markdown shows as it is: no cell, tag, link or emphasis can be opened by a name."""
    entities = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
    return _SPECIAL.sub(lambda m: entities.get(m[0], "\\" + m[0]), " ".join(text.split()))


def render(report: Report) -> str:
    """Return the Markdown text."""
    parts = [f"# {escape(report.name)}", escape(report.question), f"**{escape(report.status)}**"]
    parts += [f"> **Note:** {escape(warning)}" for warning in report.warnings]
    for i, table in enumerate(report.machines, 1):
        if len(report.machines) > 1:
            parts.append(f"## Machine {i} of {len(report.machines)}: {escape(table.fingerprint)}")
        parts += _machine(report, table)
    return "\n\n".join(part for part in parts if part) + "\n"


def _machine(report: Report, table: MachineTable) -> list[str]:
    findings = report.findings(table)
    claims = ["### Claims", escape(tally(findings)), "\n".join(map(_claim, claimed(findings)))] if findings else []
    told = [f"* **{escape(a.task)}**: {escape(a.lead)} {escape(a.rest)}" for a in report.answers(table)]
    parts = [*claims, "\n".join(told)]
    for group in table.groups:
        parts += [_heading(group), _table(columns(table, group), group)]
        if beside := comparison(table, group):
            parts += [f"Against the best on {escape(group.name)}:", _table(beside, group)]
        parts += [f"Stability on {escape(group.name)}:", _table(card(table, group), group)]
        if near := efficiency(table, group):
            parts += [f"Efficiency on {escape(group.name)}:", _table(near, group)]
        parts += [*_published(group), *_samples(group, report)]
    found = rankings(table, report.matched)
    for ranking in found:
        parts += [f"### {escape(ranking.title)}", _plain(ranking)]
    parts += [_bullets(_escaped(agreement(found) + searched(table)))]
    if table.held:
        parts.append("Held equal: " + ", ".join(f"{escape(k)} {escape(v)}" for k, v in table.held.items()) + ".")
    parts += ["### Columns", _bullets([f"**{escape(t)}**: {escape(d)}" for t, d in legend(table)])]
    if beside := comparison(table):
        parts += ["### Columns of the comparison", _meanings(beside)]
    parts += ["### Columns of stability", _meanings(card(table))]
    if near := efficiency(table):
        parts += ["### Columns of efficiency", _meanings(near)]
    parts += [
        "### How to read it",
        _bullets(_escaped(notes.reading(table, bool(findings)) + notes.unfinished(report, table))),
    ]
    if wrong := notes.troubles(table):
        parts += ["### What went wrong", _bullets(_escaped(wrong))]
    return [*parts, "### Machine and versions", _terms(notes.origin(table))]


def _claim(claim: Claimed) -> str:
    """A claim, its verdict and its numbers, as one item of a list."""
    lines = [f"* **{claim.verdict}**: {escape(claim.text)} ({escape(claim.source)})"]
    return "\n".join([*lines, *(f"  * {escape(line)}" for line in claim.evidence)])


def _published(group: TaskGroup) -> list[str]:
    """Published numbers beside ours."""
    held = [one.texts for one in published(group)]
    if held:
        lines = [[*map(escape, held[0])], ["---"] * len(held[0]), *([*map(escape, one.values())] for one in held)]
        return [f"Published on {escape(group.name)}:", _lines(lines)]
    return [f"Nothing published: {escape(why)}."] if (why := why_none(group)) else []


def _samples(group: TaskGroup, report: Report) -> list[str]:
    """Samples as they are, in a fence that none of their lines can close."""
    if (found := samples(group, report.samples_of)) is None:
        return []
    lines = in_lines(found.rows)
    fence = "`" * max(3, 1 + max((len(ticks) for line in lines for ticks in re.findall("`+", line)), default=0))
    return [f"Samples on {escape(group.name)}, {escape(found.caption)}", "\n".join([f"{fence}text", *lines, fence])]


def _heading(group: TaskGroup) -> str:
    floor = number(group.floor, group.metric.format)
    own = ", ".join(f"{escape(k)} {escape(v)}" for k, v in group.settings.items())
    told = f"{escape(group.metric.title)}: {direction(group.higher_is_better)}, floor {floor}"
    return f"### {escape(group.name)}\n\n{told}." + (f" {own}." if own else "")


def _table(found: list[Column], group: TaskGroup) -> str:
    lines = [[escape(c.title) for c in found], ["---:" if c.numeric else "---" for c in found]]
    lines += [[escape(c.text(row)) for c in found] for row in group.rows[:MOST_ROWS]]
    left = len(group.rows) - MOST_ROWS
    return _lines(lines) + (f"\n\nThe best {MOST_ROWS}; {left:,} more rows stand in the CSV." if left > 0 else "")


def _lines(rows: list[list[str]]) -> str:
    """Rows of a table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _plain(ranking: Ranking) -> str:
    lines = [ranking.header, ["---"] * len(ranking.header), *ranking.rows]
    return "\n".join("| " + " | ".join(map(escape, line)) + " |" for line in lines)


def _meanings(found: list[Column]) -> str:
    return _bullets([f"**{escape(title)}**: {escape(doc)}" for title, doc in meanings(found)])


def _terms(pairs: list[tuple[str, str]]) -> str:
    return _bullets([f"**{escape(name)}**: {escape(meaning)}" for name, meaning in pairs])


def _escaped(lines: list[str]) -> list[str]:
    return [escape(line) for line in lines]


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)
