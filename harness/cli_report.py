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
from harness.objects import Place, place

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from harness.claims import Claim
    from harness.match import Matched
    from harness.record import Record
    from harness.trial import Trial

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
        from harness.told_times import told

        for line in told(file, set_, results):
            typer.echo(line)
        return
    from rich.console import Console

    from harness import spec, store
    from harness.record import reads

    console, folder = Console(), place(file)
    if "://" in file or os.path.isdir(file):
        if set_:
            raise UserError(Fault("--set needs a benchmark file", where=file, remedy="harness report FILE --set ..."))
        name, question, trials = folder.resolve().name, "", None
        claims: tuple[Claim, ...] = ()
        matched: tuple[Matched, ...] = ()
        _hint(console, folder)
        records = store.open_folder(folder, reads(claims))
    else:
        benchmark = spec.load(file, set_)
        name, question, folder = benchmark.report_name, benchmark.question, results / benchmark.name
        claims, matched = benchmark.claims, benchmark.matched
        _hint(console, folder)
        records = benchmark.answered(store.open_folder(folder, reads(claims)))
        trials = benchmark.asked(records)
    if not records:
        raise UserError(Fault("no stored trial of this benchmark", where=str(folder), remedy=f"harness run {file}"))
    formats = [kind.value for kind in format_ or Format]
    written(console, name, question, records, trials, folder, claims, matched, store.samples(folder), formats)


def written(
    console: Console,
    name: str,
    question: str,
    records: Sequence[Record],
    trials: Sequence[Trial] | None,
    folder: Place,
    claims: Sequence[Claim],
    matched: Sequence[Matched],
    samples_of: Callable[[Record], str],
    formats: Sequence[str] = ("md", "csv", "html", "tex", "parquet"),
) -> NoReturn:
    """Print and write the report; end with 5 if a trial did not end well."""
    from harness import report

    with _little_garbage():
        made = report.make(name, question, records, trials, claims, matched, samples_of)
        gc.freeze()
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
    from harness.compact import compact, stores

    for store in stores(folder):
        before = len(store.loose())
        moved = compact(store, timeout=60)
        left = len(store.loose())
        typer.echo(f"{store.folder}: {moved:,} of {before:,} records moved" + (f", {left:,} left" if left else ""))


def _hint(console: Console, folder: Place) -> None:
    """Say what makes a slow report quick."""
    from harness.compact import stores

    count = sum(len(store.loose()) for store in stores(folder)) if isinstance(folder, Path) and folder.is_dir() else 0
    if count >= MANY:
        text = f"{count:,} records have a file each, which takes a while to read\n  try: harness compact {folder}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
