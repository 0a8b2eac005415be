"""`harness data`: list, fetch and verify the data sets of others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import Fault, HarnessError, UserError

if TYPE_CHECKING:
    from harness.data.fetch import Start

app = typer.Typer(help="List, fetch and verify data sets.", no_args_is_help=True, rich_markup_mode=None)
Name = Annotated[str | None, typer.Argument(metavar="NAME", help="a data set", show_default=False)]


@app.command("list")
def list_(name: Name = None) -> None:
    """List data sets: whether they are on this machine, their size, tasks and licence; of one, all that is known."""
    from harness.data import sources

    for line in _all_sets() if name is None else _one_set(name):
        typer.echo(line)
    typer.echo(f"cache: {sources.cache_folder()}")


def _all_sets() -> Iterator[str]:
    from harness.data import sources

    used = tasks_of()
    yield f"  {'set':<16} {'here':<6} {'MB':>6}  {'tasks':<28} licence"
    for name in sources.names():
        about = sources.find(name)
        size = sum(file.bytes for file in about.files.values()) / 1e6
        have = "yes" if sources.here(name) else "no"
        yield f"  {name:<16} {have:<6} {size:>6.1f}  {', '.join(used.get(name, ())):<28} {about.licence}"


def _one_set(name: str) -> Iterator[str]:
    from harness.data import sources

    about = sources.find(name)
    yield f"{name}: {about.title}"
    told = {"licence": about.licence, "redistribution": about.redistribute, "cite": about.cite, "holds": about.counts}
    told |= {"tasks": ", ".join(tasks_of().get(name, ())), "conversion": about.conversion}
    yield from (f"  {what}: {text}" for what, text in told.items() if text)
    for file, one in about.files.items():
        have = "here" if sources.cached(name, file).exists() or sources.mirrored(name, file) else "not here"
        yield f"  {file}  ({have}, {one.bytes:,} bytes, sha256 {one.sha256})"
        yield f"    from {one.url or one.archive or one.comes_from}"


@app.command()
def fetch(name: Name = None, everything: Annotated[bool, typer.Option("--all", help="every data set")] = False) -> None:
    """Bring a data set to this machine, from HARNESS_DATA_MIRROR or else its URL; nothing that is here comes again."""
    from harness.data import fetch, sources

    if everything == (name is not None):
        raise UserError(Fault("give either a NAME or --all", allowed=", ".join(sources.names())))
    failed: list[HarnessError] = []
    for one in sources.names() if name is None else [name]:
        about = sources.find(one)
        typer.echo(f"{one}: {about.title}\n  licence: {about.licence}\n  redistribution: {about.redistribute}")
        typer.echo(f"  cite: {about.cite}")
        try:
            with _progress() as start:
                came = fetch.fetch(one, start)
            typer.echo(f"  {came} of {len(about.files)} files came, the rest were here" if came else "  it is here")
        except HarnessError as error:
            if not everything:
                raise
            failed.append(error)
    if failed:
        faults = [fault for error in failed if isinstance(error, UserError) for fault in error.faults]
        stopped = [error for error in failed if not isinstance(error, UserError)]
        for fault in faults if stopped else ():
            typer.echo(f"error: {fault}", err=True)
        # 75 before 6: what was cut goes on by the same command, whatever else has to be mended
        if not stopped:
            raise UserError(faults)
        first = max(stopped, key=lambda error: error.exit_code)
        raise type(first)("\n".join(map(str, stopped)))


@app.command()
def verify(name: Name = None) -> None:
    """Read every copy on this machine, of one data set or of all, and compare it with what is known."""
    from harness.data import fetch, sources

    names = sources.names() if name is None else [sources.find(name).name]
    here = fetch.verified(names)
    typer.echo(f"{here} of {len(names)} data sets are on this machine, whole and as known")


def tasks_of() -> dict[str, list[str]]:
    """Data set -> names of the tasks that read it."""
    from harness import registry

    used: dict[str, list[str]] = {}
    for task, kind in registry.members("harness.tasks").items():
        files = [file for group in getattr(kind, "sets", {}).values() for file in group]
        for name in sorted({file.partition("/")[0] for file in files}):
            used.setdefault(name, []).append(task)
    return used


@contextmanager
def _progress() -> Iterator[Start]:
    """A bar on the terminal for each download; none where the output is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("  {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as shown:

        def start(what: str):
            bar = shown.add_task(what, total=None)
            return lambda done, whole: shown.update(bar, completed=done, total=whole)

        yield start
