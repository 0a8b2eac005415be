"""`harness plan`: hours, cost and the best split of a benchmark, before anybody pays for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def plan(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a benchmark: a YAML file", show_default=False)],
    on: Annotated[str | None, typer.Option("--on", metavar="CLUSTER", help="its file [default: this machine]")] = None,
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="as of `harness run`")] = [],  # noqa: B006
    max_concurrent: Annotated[int | None, typer.Option("--max-concurrent", min=1, metavar="N")] = None,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, metavar="N", help="as if the benchmark had so many")
    ] = None,
) -> None:
    """Measure a benchmark's trials here for a minute, and say how long they take on a cluster, and at what cost."""
    from harness import spec
    from harness.jobs import cluster
    from harness.plan import build, told
    from harness.plan.reduce import Network

    benchmark = spec.load(file, [*set_, "workers=1"])  # how many each trial has is what the plan finds out
    there = cluster.read(on) if on else None
    threads = max(trial.threads for trial in benchmark.trials)
    place = build.place_of(there, Path(on).name if on else "this machine", threads)
    known = there and there.network and Network(there.network.latency, there.network.bandwidth)
    widths = build.widths(benchmark.trials, place.farm.nodes * place.farm.slots)
    measured = build.measure(benchmark.trials, widths, known or None, lambda text: typer.echo(text, err=True))
    if trials is None and benchmark.size > len(benchmark.trials):  # tries that a search has still to decide on
        trials = benchmark.size
    measured = build.repeated(measured, trials) if trials else measured
    found = build.options(measured, place, max_concurrent)
    for line in told.lines(benchmark.name, trials or len(benchmark.trials), measured, found, place):
        typer.echo(line)
