"""`harness wandb`: the mirror of records at Weights & Biases, rebuilt, uploaded and laid out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import Fault, Stopped, UserError

app = typer.Typer(help="W&B runs and dashboards, from records.", no_args_is_help=True, rich_markup_mode=None)
Folder = Annotated[Path, typer.Argument(metavar="RESULTS", help="a benchmark's folder of records, or one of many")]
Entity = Annotated[str, typer.Option("--entity", envvar="WANDB_ENTITY", help="W&B user or team [default: the key's]")]
Project = Annotated[str, typer.Option("--project", envvar="WANDB_PROJECT", help="W&B project")]


@app.command()
def sync(
    results: Folder,
    entity: Entity = "",
    project: Project = "",
    offline: Annotated[bool, typer.Option("--offline", help="rebuild runs that are missing; upload nothing")] = False,
) -> None:
    """Rebuild the W&B runs that are missing or out of date from the records, and upload what W&B does not have.

    Nothing is done twice: a run that is there is left alone, one that is uploaded is not uploaded again.
    """
    from harness.launch.base import mirror
    from harness.storage import store
    from harness.tracking import runs

    faults: list[str] = []
    for folder in _benchmarks(results):
        records = store.open_folder(folder)
        todo = len(runs.missing(records, folder))
        before = len(faults)
        mirror(records, folder, faults.append)
        rebuilt = todo - len(runs.missing(records, folder)) if len(faults) > before else todo
        typer.echo(f"{folder}: {len(records)} records, {rebuilt} runs rebuilt")
        if not offline and not faults:
            faults += _uploaded(folder, entity, project)
    if faults:
        raise Stopped("\n".join([*faults, f"  try: harness wandb sync {results}; what is done is not done again"]))


@app.command()
def dashboard(
    results: Folder,
    entity: Entity = "",
    project: Project = "",
    publish: Annotated[bool, typer.Option("--publish", help="put them on W&B's server too; needs a key")] = False,
) -> None:
    """Build a W&B workspace and a report of a benchmark, as JSON: parallel coordinates, table, gradients, stability."""
    from harness import dashboards
    from harness.storage import store
    from harness.tracking import runs

    project = project or runs.PROJECT
    for folder in _benchmarks(results):
        records, name = store.open_folder(folder), folder.resolve().name
        for path in dashboards.write(name, records, project, folder):
            typer.echo(f"wrote {path}")
        if publish:
            from harness.dashboards.publish import publish as published

            for what, url in published(name, records, entity, project, folder).items():
                typer.echo(f"{what}: {url}")


def _uploaded(folder: Path, entity: str, project: str) -> list[str]:
    """Upload a benchmark's runs; return what went wrong."""
    from harness.tracking import upload

    before = upload.pending(folder)
    why = ""
    for start in range(0, len(before), upload.AT_ONCE):
        why = why or upload.upload(before[start : start + upload.AT_ONCE], entity, project)
    left = len(upload.pending(folder))
    typer.echo(f"{folder}: {len(before) - left} runs uploaded, {left} left")
    return [f"W&B has not got {left} of {len(before)} runs: {why}"] if why else []


def _benchmarks(results: Path) -> list[Path]:
    """Return the benchmark folders that hold records: this one, or those in it. Raises UserError where none does."""
    places = [results, *sorted(results.iterdir())] if results.is_dir() else []
    found = [place for place in places if place.is_dir() and any(place.glob("[!.]*/[!.]*.parquet"))]
    if not found:
        raise UserError(
            Fault("no records", where=str(results), allowed="results/BENCHMARK", remedy="harness run BENCHMARK first")
        )
    return found[:1] if found[0] == results else found
