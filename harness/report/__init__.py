"""The report: from records to one comparable table, as Markdown, CSV, a page and in the terminal.

    build.py    which records count        variants.py  settings: which differ, which are held, which cannot matter
    table.py    numbers over seeds         columns.py   what each column shows and means
    answer.py   the finding in words       notes.py     how to read it, what went wrong, machine and versions
    card.py     the stability card         claimed.py   claims, with verdicts
    compared.py against the best           ranked.py    the order under each kind of match
    published.py published numbers, held against ours     examples.py  samples of each task
    plots.py    figures as SVG             to_*.py      one format a file

Level 6: imports level 0 only, so that a laptop without torch or Ray reads results.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness import files

if TYPE_CHECKING:
    from rich.console import Console

    from harness.claims import Claim
    from harness.match import Matched
    from harness.record import Record
    from harness.trial import Trial


def write(
    name: str,
    question: str,
    records: Iterable[Record],
    expected: Sequence[Trial] | None,
    folder: Path,
    claims: Sequence[Claim] = (),
    matched: Sequence[Matched] = (),
) -> dict[str, Path]:
    """Write `name.md`, `name.csv` and `name.html` into `folder`; return {"md": path, ...}.

    expected: every trial of the benchmark, to say what is missing; None where it is not known. claims: what to hold
    against the records, machine by machine; where there are some, `name-claims.csv` is written too ("claims"), and
    `name-published.csv` ("published") where numbers are published on the data. matched: what was held equal. All are
    rendered before the first is written, and each appears whole or not at all. Raises Stopped where the folder cannot
    be written.
    """
    from harness.report import to_csv, to_html, to_markdown
    from harness.report.build import build
    from harness.report.published import published

    assert Path(name).name == name, f"{name!r} is not a file name: benchmark names are checked where they are read"
    report = build(name, question, records, expected, claims, matched)
    renders = {"md": to_markdown.render, "csv": to_csv.render, "html": to_html.render}
    if claims:
        renders["claims"] = to_csv.render_claims
    if any(published(group) for table in report.machines for group in table.groups):
        renders["published"] = to_csv.render_published
    texts = {kind: render(report) for kind, render in renders.items()}
    paths = {
        kind: folder / (f"{name}.{kind}" if kind in ("md", "csv", "html") else f"{name}-{kind}.csv") for kind in texts
    }
    with files.explained("the report", folder):
        for kind, path in paths.items():
            files.replace(path, texts[kind].encode("utf-8", "replace"))
    return paths


def show(
    console: Console,
    name: str,
    question: str,
    records: Iterable[Record],
    expected: Sequence[Trial] | None,
    claims: Sequence[Claim] = (),
    matched: Sequence[Matched] = (),
) -> None:
    """Print the report to a terminal, with as many columns as fit its width."""
    from harness.report import to_terminal
    from harness.report.build import build

    to_terminal.render(console, build(name, question, records, expected, claims, matched))
