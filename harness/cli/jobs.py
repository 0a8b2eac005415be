"""Benchmarks on a Ray cluster: `submit`, `status`, `logs`, `stop`, `resume`, `fetch`, and `doctor`, over Ray Jobs.

Exit codes tell the truth: 0 where the job SUCCEEDED and never else; the code of `harness run` where it ended with one;
75 where it was stopped or killed, so that `harness resume` goes on, and where the cluster fell silent; 4 while it runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from harness.errors import Fault, Stopped, UserError
from harness.storage.objects import on_disk, place

if TYPE_CHECKING:
    from harness.jobs.client import Job
    from harness.jobs.cluster import Cluster
    from harness.jobs.submit import Plan

JobId = Annotated[str | None, typer.Argument(metavar="JOB", help="a job's id [default: the latest]")]
On = Annotated[str | None, typer.Option("--on", metavar="CLUSTER", help="the cluster's file [default: the job's]")]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="folder of records and reports here")]
Places = Annotated[Any, typer.Option("--results", metavar="DIR|URL", parser=place, help="where records lie")]
NoToken = Annotated[bool, typer.Option("--no-token", help="with `token: none` in the file: go without a token")]
STOPPING = 60.0
"""Seconds that `stop` waits for the job to end."""


def submit(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a benchmark: a YAML file", show_default=False)],
    on: Annotated[str, typer.Option("--on", metavar="CLUSTER", help="the cluster's file: cluster/NAME.yaml")],
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="as of `harness run`")] = [],  # noqa: B006
    max_concurrent: Annotated[int | None, typer.Option("--max-concurrent", min=1, metavar="N")] = None,
    pack: Annotated[str | None, typer.Option(metavar="auto|off|K", help="as of `harness run`")] = None,
    gpus: Annotated[float, typer.Option("--gpus-per-trial", metavar="F", help="as of `harness run`")] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would go; send nothing")] = False,
    results: Results = Path("results"),
    no_token: NoToken = False,
) -> None:
    """Submit a benchmark to a Ray cluster as a job; what is uploaded is shown before it goes."""
    from harness.launch.gpus import OPTION
    from harness.pack.plan import asked

    options = ["--max-concurrent", str(max_concurrent)] if max_concurrent else []
    asked("off" if pack is None else pack)
    options += [] if pack is None else ["--pack", pack]
    options += [OPTION, f"{gpus:g}"] if gpus else []
    _submit(_planned(file, on, set_, options), results, no_token, dry_run)


def _planned(file: str, on: str, overrides: Sequence[str], options: Sequence[str]) -> Plan:
    from harness import spec
    from harness.jobs import submit as submitting
    from harness.jobs.upload import shared_data

    benchmark = spec.load(file, overrides)
    planned = submitting.plan(benchmark, on, overrides, options)
    for line in planned.upload.told():
        typer.echo(line)
    for path in shared_data(benchmark):
        typer.echo(f"  not uploaded, so each node must have it: {path}")
    return planned


def _submit(planned: Plan, results: Path, no_token: bool, dry_run: bool) -> None:
    from harness.jobs import client, notes
    from harness.jobs import submit as submitting

    if not dry_run:
        submitting.submit(planned, results, no_token, typer.echo)
        return
    client.refuse(planned.cluster, no_token)
    staged = planned.upload.stage(notes.folder(results, planned.note.id) / "upload")
    typer.echo(f"nothing was sent; by hand:\n  {planned.by_hand(staged)}")


def _reached(job: str | None, on: str | None, results: Path, no_token: bool) -> tuple[Any, Cluster, str]:
    """Return a client of the cluster on which a job is, and its id."""
    from harness.jobs import client, cluster, notes

    if job is None or on is None:
        note = notes.needed(results, job)
        job, on = note.id, on or note.on
    found = cluster.read(on)
    return client.connect(found, no_token), found, job


def status(
    job: JobId = None,
    on: On = None,
    follow: Annotated[bool, typer.Option("--follow", help="write its log as it grows, until it ends")] = False,
    results: Results = Path("results"),
    no_token: NoToken = False,
) -> None:
    """Say how a job is; with --on alone, every job of that cluster. Exit 0 only if it succeeded."""
    from harness.jobs import client, cluster

    if job is None and on is not None and not follow:
        found = cluster.read(on)
        for one in client.every(client.connect(found, no_token), found):
            typer.echo(_sentence(one))
        return
    ray, there, job = _reached(job, on, results, no_token)
    _end(_followed(ray, there, job) if follow else client.find(ray, there, job))


def logs(
    job: JobId = None,
    on: On = None,
    follow: Annotated[bool, typer.Option("--follow", help="go on as it grows, until the job ends")] = False,
    results: Results = Path("results"),
    no_token: NoToken = False,
) -> None:
    """Write the log of a job; with --follow its exit code is the job's."""
    from harness.jobs import client

    ray, there, job = _reached(job, on, results, no_token)
    if follow:
        _end(_followed(ray, there, job))
    client.find(ray, there, job)
    with client.answering(there):
        _write(ray.get_job_logs(job))


def stop(job: JobId = None, on: On = None, results: Results = Path("results"), no_token: NoToken = False) -> None:
    """Stop a job and wait until it has ended: trials that run are left at their last checkpoint."""
    from harness.jobs import client

    ray, there, job = _reached(job, on, results, no_token)
    found = client.find(ray, there, job)
    if found.over:
        raise UserError(Fault(f"{job} has ended already: {found.state}", remedy=f"harness status {job}"))
    with client.answering(there):
        ray.stop_job(job)
    until = time.monotonic() + STOPPING
    while not (found := client.find(ray, there, job)).over and time.monotonic() < until:
        time.sleep(0.5)
    typer.echo(_sentence(found))
    if found.state != "STOPPED":  # it ended by itself, or Ray cannot stop it: one that is PENDING, for one
        raise typer.Exit(found.outcome)
    typer.echo(f"  next: harness resume {job}")


def resume(
    job: JobId = None,
    changed: Annotated[bool, typer.Option("--changed", help="although the benchmark's file has changed")] = False,
    results: Results = Path("results"),
    no_token: NoToken = False,
) -> None:
    """Submit the benchmark of a job that ended early once more: what is stored is kept, and the rest goes on."""
    from harness.jobs import client, cluster, notes

    note = notes.needed(results, job)
    if (difference := note.changes()) and not changed:
        typer.echo(difference, err=True)
        what = f"{note.benchmark} has changed since {note.id} was submitted"
        raise UserError(Fault(what, remedy=f"harness submit {note.benchmark} --on {note.on}, or --changed"))
    there = cluster.read(note.on)
    found = client.find(client.connect(there, no_token), there, note.id)
    if not found.over:
        raise UserError(Fault(f"{note.id} is still {found.state}", remedy=f"harness status {note.id} --follow"))
    if found.state == "SUCCEEDED":
        raise UserError(Fault(f"{note.id} has succeeded: nothing is left to do", remedy=f"harness fetch {note.id}"))
    planned = _planned(note.benchmark, note.on, note.set, note.options)
    if planned.note.trials != note.trials and not changed:
        what = f"the trials of {note.benchmark} are others than {note.id} ran: its own data, or the code, have changed"
        raise UserError(Fault(what, remedy=f"harness submit {note.benchmark} --on {note.on}, or --changed"))
    _submit(planned, results, no_token, dry_run=False)


def fetch(job: JobId = None, results: Results = Path("results")) -> None:
    """Bring the records of a job's benchmark home, each one checked; also while it runs."""
    from harness.jobs import cluster, home, notes

    note = notes.needed(results, job)
    came = home.fetch(cluster.read(note.on), note.name, results)
    typer.echo(f"{came.records} records came, {came.there} were here, with {came.others} other files")
    for path in came.kept:
        typer.echo(f"  differs from the cluster's, and was left as it is: {path}")
    typer.echo(f"  next: harness report {results / note.name}")


def doctor(
    on: On = None,
    results: Places = Path("results"),
    no_token: NoToken = False,
    inside: Annotated[bool, typer.Option("--inside", hidden=True, help="in a job: look at each node")] = False,
) -> None:
    """Look at everything that a job needs, here and on a cluster, and name what is missing. Exit 0 or 2."""
    if inside:
        from harness.launch import attached

        with attached.joined():
            told = attached.survey(results)
        for line in attached.lines(told):
            typer.echo(line)
        attached.check(told, 1)
        typer.echo("every node has the same versions and sees the shared folder")
        if (grace := int(os.environ.get("RAY_JOB_STOP_WAIT_TIME_S", "3"))) < 30:
            typer.echo(f"a job has {grace} seconds to stop; export RAY_JOB_STOP_WAIT_TIME_S=30 where the head starts")
        return
    from harness.jobs import doctor as looking

    findings = [*looking.here(results := on_disk(results))]
    for finding in findings:
        typer.echo(str(finding))
    for finding in looking.there(on, results, no_token, _write) if on else ():
        typer.echo(str(finding))
        findings.append(finding)
    raise typer.Exit(0 if all(finding.sound for finding in findings) else 2)


def _followed(ray: Any, there: Cluster, job: str) -> Job:
    from harness.jobs.follow import follow

    try:
        return follow(ray, there, job, _write)
    except KeyboardInterrupt:
        raise Stopped(f"no longer following; {job} goes on\n  try: harness status {job} --follow") from None


def _write(text: str) -> None:
    print(text, end="", flush=True)


def _sentence(job: Job) -> str:
    """Return how a job is, in a line."""
    began = f", began {datetime.fromtimestamp(job.started):%Y-%m-%d %H:%M:%S}" if job.started else ""
    ended = f", ended {datetime.fromtimestamp(job.ended):%H:%M:%S}" if job.ended else ""
    code = f", exit code {job.exit_code}" if job.exit_code is not None else ""
    return f"{job.id}: {job.state}{began}{ended}{code}"


def _end(job: Job) -> NoReturn:
    """Say how a job is, and end with the exit code that is true of it."""
    typer.echo(_sentence(job))
    if job.over and job.state != "SUCCEEDED":
        typer.echo(f"  {' '.join(job.message.split())[-500:]}")
    verb = {"SUCCEEDED": "fetch", "STOPPED": "resume", "FAILED": "logs"}.get(job.state, "status --follow")
    typer.echo(f"  next: harness {verb} {job.id}")
    raise typer.Exit(job.outcome)


VERBS = (submit, status, logs, stop, resume, fetch, doctor)
