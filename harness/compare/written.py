"""A comparison for readers and tools: terminal, JUnit XML, GitHub's step summary, JSON for github-action-benchmark."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from harness.compare.result import KINDS, Comparison, Line
from harness.report.to_markdown import escape
from harness.report.words import clean

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {"slower": "red", "changed": "red", "worse": "red", "inconclusive": "yellow", "faster": "green"}
HEADER = ("variant", "of", "verdict", "numbers")
MANY = 4
"""Variants that are equal, from which on a terminal says so of all at once: files have a line for each."""


def show(console: Console, found: Comparison) -> None:
    """Print the table and the finding."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"{found.base} -> {found.new}", style="bold"), title_justify="left", header_style="dim")
    for title in HEADER:
        table.add_column(title, overflow="fold")
    for line in _gathered(found.lines):
        verdict = Text(line.verdict, style=_STYLES.get(line.verdict, ""))
        table.add_row(Text(clean(line.name)), line.kind, verdict, Text(clean(line.numbers)))
    console.print(table if found.lines else table.title)
    for note in found.notes:
        console.print(Text(clean(note)))
    console.print(Text(found.sentence, style="bold red" if found.failed else "bold"))


def _gathered(lines: Sequence[Line]) -> Iterator[Line]:
    """Yield the lines that a terminal shows: where many variants are equal in one kind of thing, one line says so."""
    equal = {kind: [line for line in lines if (line.kind, line.verdict) == (kind, "equal")] for kind in KINDS}
    for line in lines:
        alike = equal[line.kind]
        if line.verdict != "equal" or len(alike) < MANY:
            yield line
        elif line is alike[0]:
            numbers = {one.numbers for one in alike}
            shown = numbers.pop() if len(numbers) == 1 else "each as before"
            yield Line(f"{len(alike)} variants", line.kind, "equal", shown)


def markdown(found: Comparison) -> str:
    """Return GitHub's step summary."""
    rows = [(clean(line.name), line.kind, line.verdict, clean(line.numbers)) for line in found.lines]
    table = [HEADER, ("---",) * len(HEADER), *rows] if rows else []
    lines = ["| " + " | ".join(map(escape, row)) + " |" for row in table]
    notes = [f"* {escape(clean(note))}" for note in found.notes]
    head = f"### {escape(found.base)} to {escape(found.new)}: {escape(found.sentence)}"
    return "\n\n".join(filter(None, [head, "\n".join(lines), "\n".join(notes)])) + "\n"


def junit(found: Comparison) -> str:
    """Return JUnit XML: a test case a line, failed where it is worse, skipped where it could not be decided. Where
    nothing could be compared, one that is skipped says why."""
    failed, undecided = found.failed, found.undecided
    lines = found.lines or [Line("baseline", "facts", "inconclusive", "; ".join(found.notes))]
    skipped = len(undecided) if found.lines else len(lines)
    suite = ET.Element("testsuite", name="harness compare", tests=str(len(lines)), failures=str(len(failed)),
                       errors="0", skipped=str(skipped))  # fmt: skip
    for line in lines:
        case = ET.SubElement(suite, "testcase", classname=f"compare.{line.kind}", name=clean(line.name),
                             time=f"{line.seconds:.6f}")  # fmt: skip
        message = f"{line.verdict}: {clean(line.numbers)}"
        if line in failed:
            ET.SubElement(case, "failure", message=message)
        elif line in undecided or not found.lines:
            ET.SubElement(case, "skipped", message=message)
        else:
            ET.SubElement(case, "system-out").text = message
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def action_benchmark(found: Comparison) -> str:
    """Return the list that github-action-benchmark reads as `customSmallerIsBetter`: ratios to the base, in percent of
    it, so that points of unlike machines can stand on one line."""
    timed = [line for line in found.lines if line.timing is not None and math.isfinite(line.timing.ratio)]
    sides, out = f"base {found.base}, new {found.new}", []
    for line in timed:
        assert line.timing is not None
        low, high = line.timing.low, line.timing.high
        spread = f"[{low:.3f}, {high:.3f}]" if math.isfinite(high) else "no interval"
        out.append({"name": line.name, "unit": "% of base", "value": round(100 * line.timing.ratio, 2), "range": spread,
                    "extra": f"{line.verdict}, {line.timing.pairs} pairs; {sides}"})  # fmt: skip
    return json.dumps(out, indent=1) + "\n"


def plain(found: Comparison) -> str:
    """Return all of it as JSON, with raw times: CPU seconds of each turn, base and new, a list for each training."""
    lines: list[dict[str, Any]] = []
    for x in found.lines:
        turns = [[[round(base, 7), round(new, 7)] for base, new in seconds] for seconds in x.raw]
        told = {"name": x.name, "of": x.kind, "verdict": x.verdict, "numbers": x.numbers}
        lines.append(told | ({"seconds_base_new": turns} if turns else {}))
    whole = {"base": found.base, "new": found.new, "exit_code": found.exit_code, "finding": found.sentence}
    return json.dumps(whole | {"machine": {**found.machine}, "lines": lines, "notes": found.notes}) + "\n"
