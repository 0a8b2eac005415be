"""The report in a terminal: a rich table a task, which goes on below where its columns do not fit side by side."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.report import notes
from harness.report.build import Report
from harness.report.card import card
from harness.report.claimed import claimed, tally
from harness.report.columns import Column, columns, fitting
from harness.report.published import published
from harness.report.ranked import agreement, rankings
from harness.report.searched import searched
from harness.report.table import MachineTable, TaskGroup
from harness.report.words import direction, number, plural

_STYLES = {
    "no better than floor": "yellow",
    "within": "green", "short": "yellow",
    "holds": "green", "does not hold": "red", "inconclusive": "yellow",
    "diverged": "red", "exploding": "red", "vanishing": "yellow", "stable": "green",
}  # fmt: skip
SAID = ("floor", "score_confidence")
"""Columns that the title and the answer say already."""
MOST_ROWS = 100  # of a task
MOST_TROUBLES = 10  # lines; the rest stands in the files


def render(console: Console, report: Report) -> None:
    """Print the report. Names are printed as text: no markup or control code in them is obeyed."""
    console.print(Text(report.name, style="bold"))
    if report.question:
        console.print(Text(report.question))
    console.print(Text(report.status))
    for warning in report.warnings:
        console.print(Text(warning, style="yellow"))
    for i, table in enumerate(report.machines, 1):
        if len(report.machines) > 1:
            console.rule(Text(f"machine {i} of {len(report.machines)}: {table.fingerprint}"))
        _machine(console, report, table)


def _machine(console: Console, report: Report, table: MachineTable) -> None:
    findings = report.findings(table)
    for claim in claimed(findings):
        console.print()
        console.print(Text.assemble((claim.verdict, _STYLES[claim.verdict]), f": {claim.text} ", (claim.source, "dim")))
        for line in claim.evidence:
            console.print(Padding(Text(line), (0, 0, 0, 2)))
    if findings:
        console.print()
        console.print(Text(tally(findings), style="bold"))
    for group, answer in zip(table.groups, report.answers(table), strict=True):
        console.print()
        for part in _tables(console.width, table, group):
            console.print(part)
        if len(group.rows) > MOST_ROWS:
            console.print(Text(f"The best {MOST_ROWS} of {len(group.rows):,} rows; the others stand in the files."))
        console.print(Text(answer.lead[0].upper() + answer.lead[1:], style="bold"), Text(answer.rest))
        _published(console, group)
    ranked = rankings(table, report.matched)
    for ranking in ranked:
        console.print()
        out = Table(title=Text(ranking.title, style="bold"), title_justify="left", header_style="dim")
        for index, title in enumerate(ranking.header):
            out.add_column(Text(title), justify="left" if index == 1 else "right", no_wrap=True, overflow="ellipsis")
        for texts in ranking.rows:
            out.add_row(*map(Text, texts))
        console.print(out)
    for line in agreement(ranked) + searched(table):
        console.print(Text(line))
    wrong = notes.troubles(table)
    if wrong:
        console.print()
        console.print(Text("What went wrong", style="bold"))
    for line in wrong[:MOST_TROUBLES]:
        console.print(Text(f"  {line}", style="red"))
    if len(wrong) > MOST_TROUBLES:
        console.print(Text(f"  and {len(wrong) - MOST_TROUBLES} more, in the files"))


def _published(console: Console, group: TaskGroup) -> None:
    """A line for each published number that is comparable; the others are counted."""
    held = published(group)
    for one in (one for one in held if one.verdict != "not comparable"):
        told = one.texts
        text = (
            f" {told['published']}, {told['model']} ({one.reference.cite}): {told['ours']} by {told['by']}; {one.why}"
        )
        console.print(Text.assemble((one.verdict, _STYLES[one.verdict]), text))
    if others := sum(one.verdict == "not comparable" for one in held):
        console.print(
            Text(f"{plural(others, 'published number')} not comparable: why stands in the files", style="dim")
        )


def _tables(width: int, table: MachineTable, group: TaskGroup) -> Iterator[Table]:
    """Yield the table of one task in parts, each within `width` characters where its narrowest form fits at all.

    What the lines around it say, and the stability card beyond the main columns, is left out where it does not fit.
    """
    floor = number(group.floor, group.metric.format)
    title = f"{group.name}: {group.metric.title}, {direction(group.higher_is_better)}, floor {floor}"
    main = columns(table, group)
    rest = [column for column in card(table, group) if column.name not in {c.name for c in main}]
    shown = _fitting(width, main + rest, group)
    if not {column.name for column in main} <= {column.name for column in shown}:
        main = [column for column in main if column.name not in SAID]  # their room is for a rate or a verdict
        shown = _fitting(width, main + rest, group)
    yield _table(title, shown, group)
    variant = [column for column in main if column.weight == 0 and column.name != "score"]
    left = [column for column in main if column not in shown]
    while left:
        shown = _fitting(width, variant + left, group)
        shown = shown if len(shown) > len(variant) else [*variant, left[0]]
        yield _table(f"{group.name}, continued", shown, group)
        left = [column for column in left if column not in shown]


def _table(title: str, found: list[Column], group: TaskGroup) -> Table:
    out = Table(title=Text(title, style="bold"), title_justify="left", header_style="dim")
    for column in found:
        justify = "right" if column.numeric else "left"
        out.add_column(Text(column.title), justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    for row in group.rows[:MOST_ROWS]:
        out.add_row(*(_cell(column.text(row)) for column in found))
    return out


def _fitting(width: int, found: list[Column], group: TaskGroup) -> list[Column]:
    return fitting(width - 1, found, group.rows[:MOST_ROWS], lambda text: cell_len(text) + 3)


def _cell(text: str) -> Text:
    return Text(text, style=_STYLES.get(text, ""))
