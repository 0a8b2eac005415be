"""The report: from records to one comparable table, as Markdown, CSV, a page, LaTeX, Parquet and in the terminal.

    build.py    which records count        variants.py  settings: which differ, which are held, which cannot matter
    table.py    numbers over seeds         columns.py   what each column shows and means
    answer.py   the finding in words       notes.py     how to read it, what went wrong, machine and versions
    efficiency.py how near the machine's best it ran
    card.py     the stability card         claimed.py   claims, with verdicts
    compared.py against the best           ranked.py    the order under each kind of match
    searched.py  the best of equally many tries
    published.py published numbers, held against ours     examples.py  samples of each task
    plots.py    figures as SVG             to_*.py      one format a file

Level 6: imports level 0 only, so that a laptop without torch or Ray reads results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.record import Record
from harness.storage import files
from harness.storage.objects import Place

if TYPE_CHECKING:
    from rich.console import Console

    from harness.claims import Claim
    from harness.match import Matched
    from harness.report.build import Report
    from harness.trial import Trial


def make(
    name: str,
    question: str,
    records: Iterable[Record],
    expected: Sequence[Trial] | None,
    claims: Sequence[Claim] = (),
    matched: Sequence[Matched] = (),
    samples_of: Callable[[Record], str] = lambda record: record.samples,
) -> Report:
    """Return the report of some records, to be written and shown.

    expected: every trial of the benchmark, to say what is missing; None where it is not known. claims: what to hold
    against the records, machine by machine. matched: what was held equal. samples_of: reads the samples of a record,
    where only the fields in `record.reads` were read.
    """
    from harness.report.build import build

    return build(name, question, records, expected, claims, matched, samples_of)


FORMATS = ("md", "csv", "html", "tex", "parquet")


def write(report: Report, folder: Place, formats: Iterable[str] = FORMATS) -> dict[str, Place]:
    """Write `name.md` and so on into `folder`; return {"md": path, ...}.

    Beside the CSV, `name-claims.csv` is written where there are claims ("claims"), and `name-published.csv` where
    numbers are published on the data ("published"). Parquet is two files, `name-variants.pq` and `name-trials.pq`: no
    *.parquet, which are records. All are rendered before the first is written, and each appears whole or not at all.
    Raises Stopped where the folder cannot be written.
    """
    from harness.report import to_csv, to_html, to_latex, to_markdown, to_parquet
    from harness.report.once import forget
    from harness.report.published import published

    name, claims = report.name, report.claims
    assert Path(name).name == name, f"{name!r} is not a file name: benchmark names are checked where they are read"
    wanted = set(formats)
    renders: dict[str, tuple[str, Callable[[Report], str | bytes]]] = {
        "md": (".md", to_markdown.render),
        "csv": (".csv", to_csv.render),
        "variants": ("-variants.pq", to_parquet.render_variants),
        "html": (".html", to_html.render),
        "tex": (".tex", to_latex.render),
        "trials": ("-trials.pq", to_parquet.render_trials),
    }
    if claims:
        renders["claims"] = ("-claims.csv", to_csv.render_claims)
    if any(published(group) for table in report.machines for group in table.groups):
        renders["published"] = ("-published.csv", to_csv.render_published)
    belongs = {"variants": "parquet", "trials": "parquet", "claims": "csv", "published": "csv"}
    made: dict[str, bytes] = {}
    for kind, (_, render) in renders.items():
        if belongs.get(kind, kind) in wanted:
            made[kind] = _bytes(render(report))
        if kind == "variants":  # the last that takes the CSV's columns
            forget(to_csv.numbers, report)
    with files.explained("the report", folder):
        for kind, data in made.items():
            files.replace(folder / (name + renders[kind][0]), data)
    return {kind: folder / (name + renders[kind][0]) for kind in made}


def _bytes(found: str | bytes) -> bytes:
    return found if isinstance(found, bytes) else found.encode("utf-8", "replace")


def show(console: Console, report: Report) -> None:
    """Print the report to a terminal, with as many columns as fit its width."""
    from harness.report import to_terminal

    to_terminal.render(console, report)
