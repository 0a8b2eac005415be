"""`harness report` and `harness compact`: what is stored, as tables, and in few files."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from harness.errors import Fault, UserError
from harness.storage.objects import Place, place

if TYPE_CHECKING:
    from rich.console import Console

    from harness.record import Record
    from harness.report.build import Report

Set = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="replace a setting in every grid; may be given again"),
]
Results = Annotated[Any, typer.Option(metavar="DIR|URL", parser=place, help="where records lie: folder, s3://, gs://")]


class Format(StrEnum):
    """What a report is written as."""

    md = "md"
    csv = "csv"
    html = "html"
    tex = "tex"
    parquet = "parquet"


SELDOM = 200_000
"""Objects made between two looks for garbage; of a report it is little, and holds no memory to speak of."""
MANY = 5_000
"""Records in files of their own from which on a report takes minutes, and says what to do about it."""


def report(
    file: Annotated[
        str, typer.Argument(metavar="FILE|FOLDER", help="a benchmark, or its folder of records", show_default=False)
    ],
    set_: Set = [],  # noqa: B006  typer's way
    results: Results = Path("results"),
    format_: Annotated[
        list[Format], typer.Option("--format", help="write this one; may be given again [default: all]")
    ] = [],  # noqa: B006
    where_time_goes: Annotated[
        bool, typer.Option("--where-time-goes", help="print what each second went into instead; write nothing")
    ] = False,
) -> None:
    """Write the report of what is stored, from every machine; nothing is trained."""
    if where_time_goes:
        from harness.cli.told_times import told

        for line in told(file, set_, results):
            typer.echo(line)
        return
    from rich.console import Console

    console, formats = Console(), [kind.value for kind in format_ or Format]
    with _little_garbage():
        if "://" in file or os.path.isdir(file):
            if set_:
                remedy = "harness report FILE --set ..."
                raise UserError(Fault("--set needs a benchmark file", where=file, remedy=remedy))
            made, records, folder = _of_folder(console, place(file))
        else:
            made, records, folder = _of_file(console, file, set_, results)
        written(console, made, records, folder, formats)


Made = tuple["Report", "Sequence[Record]", Place]
"""A report, the records that it is of, and the folder where they lie and it goes."""


def _of_folder(console: Console, folder: Place) -> Made:
    """The report of a folder of records."""
    from harness import report
    from harness.record import reads
    from harness.storage import store

    _hint(console, folder)
    records = store.open_folder(folder, reads())
    if not records:
        raise nothing_stored(folder)
    made = report.make(folder.resolve().name, "", records, None, samples_of=store.samples(folder))
    return made, records, folder


def _of_file(console: Console, file: str, set_: Sequence[str], results: Place) -> Made:
    """The report of a benchmark. Its trials, which may be a hundred thousand, are gone before anything is drawn."""
    from harness import report, spec
    from harness.record import reads
    from harness.storage import store

    benchmark = spec.load(file, set_)
    folder = results / benchmark.name
    _hint(console, folder)
    records = benchmark.answered(store.open_folder(folder, reads(benchmark.claims)))
    if not records:
        raise nothing_stored(folder, file)
    about = (benchmark.report_name, benchmark.question, records, benchmark.asked(records))
    made = report.make(*about, benchmark.claims, benchmark.matched, store.samples(folder))
    return made, records, folder


def nothing_stored(folder: Place, file: str = "") -> UserError:
    """What to say of a folder without records; `file`: the benchmark whose they would be, where one was named."""
    if file:
        return UserError(Fault("no stored trial of this benchmark", where=str(folder), remedy=f"harness run {file}"))
    there = sorted(path.parent.parent for path in Path(str(folder)).glob("*/*/*.parquet"))
    remedy = f"harness report {there[0]}" if there else "harness run FILE first, or check the path"
    return UserError(Fault("no stored trial in this folder", where=str(folder), remedy=remedy))


def written(
    console: Console,
    made: Report,
    records: Sequence[Record],
    folder: Place,
    formats: Sequence[str] = ("md", "csv", "html", "tex", "parquet"),
) -> NoReturn:
    """Print and write a report; end with 5 if a trial did not end well."""
    from harness import report

    with _little_garbage():
        paths = report.write(made, folder, formats)
        report.show(console, made)
    for path in paths.values():
        console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(0 if all(record.status in ("ok", "stopped") for record in records) else 5)


@contextmanager
def _little_garbage() -> Iterator[None]:
    """What is stored and what follows from it is no garbage: looking through it for some, again and again, would take a
    fifth of the time. Whoever calls this may go on, and look for what refers to what."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def compact(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="a benchmark's folder of records: results/NAME")],
) -> None:
    """Move records that have a file each into few files, from which a report of 100,000 trials takes seconds.

    Nothing is lost if it is killed, `run` and `report` may go on meanwhile, and `run` does it by itself.
    """
    from harness.storage.compact import compact, stores

    for store in stores(folder):
        before = len(store.loose())
        moved = compact(store, timeout=60)
        left = len(store.loose())
        typer.echo(f"{store.folder}: {moved:,} of {before:,} records moved" + (f", {left:,} left" if left else ""))


def _hint(console: Console, folder: Place) -> None:
    """Say what makes a slow report quick."""
    from harness.storage.compact import stores

    count = sum(len(store.loose()) for store in stores(folder)) if isinstance(folder, Path) and folder.is_dir() else 0
    if count >= MANY:
        text = f"{count:,} records have a file each, which takes a while to read\n  try: harness compact {folder}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
