"""`harness compare`: the gate for CI on one machine."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import Fault, UserError

if TYPE_CHECKING:
    from harness.compare.result import Comparison

Output = Annotated[Path | None, typer.Option("--output", metavar="DIR", help="write JUnit XML, Markdown and JSON here")]


def compare(
    base: Annotated[str, typer.Argument(metavar="BASE|BENCHMARK", help="a folder of results; with --against a file")],
    new: Annotated[str | None, typer.Argument(metavar="[NEW]", help="a second folder of results")] = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="REVISION", help="run BENCHMARK at this git revision and here")
    ] = None,
    seconds: Annotated[
        int, typer.Option("--seconds", min=20, max=3600, help="what --against has not decided by then is undecided")
    ] = 110,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="tell of changed losses, weights and counts, and let them pass")
    ] = False,
    find: Annotated[
        int,
        typer.Option(
            "--find",
            metavar="PERCENT",
            min=1,
            max=100,
            help="a slowdown that --against must not miss; half as much takes twice as long",
        ),
    ] = 20,
    output: Output = None,
) -> None:
    """Compare two folders of results, or a git revision with this tree: slower, changed, worse? Exit 0, 3, 4 or 5."""
    begin = time.monotonic()  # importing what follows takes seconds too
    from rich.console import Console

    console = Console()
    if output is not None:
        _refuse(output)
    if against is None:
        found = _folders(base, new, accept_changes)
    elif new is not None:
        raise UserError(Fault("--against compares a benchmark file, not two folders", remedy=f"leave {new!r} out"))
    else:
        from harness import spec
        from harness.compare import against as interleaved

        if faults := interleaved.refused(spec.load(base)):
            raise UserError(faults)

        def say(text: str) -> None:
            console.print(text, markup=False, highlight=False)

        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the revision's tree and both sides go
        found = interleaved.compare(against, Path(base), begin + seconds, accept_changes, find / 100, say)
    from harness.compare import written

    written.show(console, found)
    if output is not None:
        _write(found, output)
    _summarise(found)
    raise typer.Exit(found.exit_code)


def _folders(base: str, new: str | None, accept: bool) -> Comparison:
    from harness.compare import folders
    from harness.storage import store
    from harness.storage.objects import place

    if new is None:
        file = base if place(base).is_file() else "BENCHMARK.yaml"
        remedy = f"harness compare BASE NEW, or harness compare {file} --against REVISION"
        raise UserError(Fault("compare needs two folders of results, or --against", remedy=remedy))
    there, found = folders.baseline(base), store.open_folder(new)
    if not found:
        raise UserError(Fault("no stored trial", where=new, remedy="harness run BENCHMARK --results FOLDER"))
    return folders.compare(there, found, (base, new), accept)


def _refuse(folder: Path) -> None:
    """Raise UserError where a folder cannot come to be, before anything has run."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        allowed = "a folder; one that is not there is made"
        raise UserError(Fault("--output: this is a file", str(there), allowed, "--output compare"))


def _write(found: Comparison, folder: Path) -> None:
    """Write what tools read."""
    from harness.compare import written
    from harness.storage import files

    texts = {"compare.xml": written.junit(found), "compare.md": written.markdown(found)}
    texts |= {"compare.json": written.plain(found), "action-benchmark.json": written.action_benchmark(found)}
    with files.explained("the comparison", folder):
        files.make_folder(folder)
        for name, text in texts.items():
            files.replace(folder / name, text.encode())


def _summarise(found: Comparison) -> None:
    """Add to GitHub's step summary, where it asks for one. Where that fails it is said, and the verdict stands."""
    import os

    from harness.compare import written

    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with open(summary, "a", encoding="utf-8") as file:
                file.write(written.markdown(found))
        except OSError as error:
            typer.echo(f"warning: no step summary was written: {error.strerror}\n  where: {summary}\n"
                       "  try: a GITHUB_STEP_SUMMARY in a folder that is there, or none", err=True)  # fmt: skip
