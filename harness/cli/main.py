"""The command `harness`: verbs, options and exit codes. What is heavy is imported by the verb that needs it.

Exit codes: 0 done; 2 your input; 3 slower, changed or worse; 4 undecided; 5 done, but some trials are not ok; 6 stored
data damaged; 75 stopped early, and the same command goes on; 1 our bug, with its traceback.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from harness import redact
from harness.cli import compare, data, jobs, plan, report, tracking
from harness.cli.report import Results, Set, written
from harness.cli.resume import resumable
from harness.cli.sample import Request, sampled
from harness.errors import HarnessError, Stopped, UserError

app = typer.Typer(
    name="harness",
    help="Which recurrent network, how far back in time, and where to clip: one YAML file in, one table out.",
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
app.add_typer(data.app, name="data")
app.add_typer(tracking.app, name="wandb")
app.command()(report.report)
app.command()(report.compact)
app.command()(compare.compare)
app.command()(plan.plan)
for verb in jobs.VERBS:
    app.command()(verb)


class What(StrEnum):
    """What `list` lists."""

    benchmarks = "benchmarks"
    cells = "cells"
    tasks = "tasks"


class Where(StrEnum):
    """Where trials run."""

    tune = "tune"
    inline = "inline"
    cluster = "cluster"


class Wandb(StrEnum):
    """Whether W&B runs are written."""

    offline = "offline"
    online = "online"
    off = "off"


File = Annotated[str, typer.Argument(metavar="FILE", help="a benchmark: a YAML file", show_default=False)]


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
    version: Annotated[bool, typer.Option("--version", help="print the version and stop")] = False,
) -> None:
    """Options of every verb."""
    if version:
        from harness import __version__

        typer.echo(f"harness {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("list")
def list_(
    what: Annotated[What | None, typer.Argument(help="one of the three; all by default", show_default=False)] = None,
) -> None:
    """List benchmarks, cells and tasks with their settings."""
    from harness.cli.overview import listed

    _echo(listed(what.value if what else None))


@app.command()
def show(file: File, set_: Set = [], results: Results = Path("results")) -> None:  # noqa: B006  typer's way
    """Show the trials of a benchmark, their size and what they will cost, without training."""
    from harness import spec
    from harness.cli.overview import overview

    _echo(overview(spec.load(file, set_), results))


@app.command()
def run(
    file: File,
    set_: Set = [],  # noqa: B006
    on: Annotated[
        Where, typer.Option("--on", help="a local Ray of its own, this process, or a job's cluster")
    ] = Where.tune,
    results: Results = Path("results"),
    max_concurrent: Annotated[
        int | None, typer.Option("--max-concurrent", min=1, metavar="N", help="trials at once [default: CPUs]")
    ] = None,
    wandb: Annotated[Wandb, typer.Option("--wandb", help="write W&B runs; upload them too; or none")] = Wandb.offline,
    weights: Annotated[bool, typer.Option("--weights/--no-weights", help="keep what is trained, for `sample`")] = True,
    checkpoint_seconds: Annotated[
        float | None, typer.Option(min=0, metavar="S", help="between two checkpoints of a trial [default: 20 or more]")
    ] = None,
    pack: Annotated[
        str | None,
        typer.Option(metavar="auto|off|K", help="train K trials of one shape as one program [default: FILE's, or off]"),
    ] = None,
    gpus: Annotated[
        float, typer.Option("--gpus-per-trial", metavar="F", help="share of a GPU for each trial [default: CPUs]")
    ] = 0.0,
    gpu_wait: Annotated[
        float, typer.Option("--gpu-wait", min=0, metavar="S", help="seconds until a cluster has brought one")
    ] = 0.0,
) -> None:
    """Run the trials of a benchmark that are not stored yet, and write the report."""
    from harness import spec

    benchmark = spec.load(file, set_)
    from rich.console import Console

    from harness import launch, report
    from harness.storage import store

    with resumable(benchmark, results, on is Where.cluster, gpus) as stop:
        console, how = Console(), (weights, checkpoint_seconds, stop, pack, gpus, gpu_wait)
        records = launch.run(benchmark, results, console, on.value, max_concurrent, wandb.value, *how)
        folder = results / benchmark.name
        about = (benchmark.report_name, benchmark.question, records, benchmark.asked(records))
        made = report.make(*about, benchmark.claims, benchmark.matched, store.samples(folder))
        written(console, made, records, folder)


@app.command()
def sample(
    record: Annotated[str, typer.Argument(metavar="RECORD", help="a record's file, or how its id begins")],
    results: Results = Path("results"),
    input_: Annotated[str | None, typer.Option("--input", metavar="TEXT|PATH", help="what it shall read")] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", metavar="TEXT", help="what it shall go on from")] = None,
    index: Annotated[int | None, typer.Option("--index", metavar="N", help="an example of the test split")] = None,
    length: Annotated[int | None, typer.Option("--length", min=1, metavar="N", help="steps to go on by")] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", min=0, help="0: the likeliest, always")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="of what is drawn [default: 0]")] = None,
    count: Annotated[int | None, typer.Option("--count", min=1, metavar="N", help="how many to draw")] = None,
    beam_width: Annotated[int | None, typer.Option("--beam-width", min=1, max=1_000, metavar="N")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="write a picture or music")] = None,
) -> None:
    """Put something to a trained trial: complete, answer, translate, tag, draw; or see a few test examples."""
    _echo(sampled(record, results, Request(input_, prompt, index, length, temperature, seed, count, beam_width, out)))


def _echo(lines: Iterator[str]) -> None:
    for line in lines:
        typer.echo(line)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; a HarnessError becomes its message, each fault on lines of its own."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # one that knows ASCII alone gets "?" for an arrow, and no traceback
            stream.reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")
    try:
        code = app(given, prog_name="harness", standalone_mode=False)
        sys.stdout.flush()
    except HarnessError as error:
        if "--debug" in given:
            typer.echo(redact.text(traceback.format_exc()), err=True, nl=False)
        faults = error.faults if isinstance(error, UserError) else [error]
        return _fail([str(fault) for fault in faults], error.exit_code)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "harness"
        told = error.format_message().replace(": Value error, ", ": ")  # pydantic's own words, which say nothing
        return _fail([f"{told}\n  try: {path} --help"], 2)
    except (BrokenPipeError, SystemExit):  # typer and rich exit so when the reader of our output has gone
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more
        return 0
    return _fail(["stopped"], Stopped.exit_code) if code == 130 else int(code or 0)


def _fail(messages: Sequence[str], code: int) -> int:
    for message in messages:  # which say what was typed; CI keeps its logs
        typer.echo(f"error: {redact.text(message)}", err=True)
    return code
