"""The lines of `harness plan`: what was measured, every split, the best of them, and what would break first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.plan.events import Farm
from harness.plan.split import Measured, Option
from harness.report.words import aligned, duration, plural

FILE_OPERATIONS = 76
"""Calls on paths below the results that one trial makes, its claim and its W&B run included: counted by strace."""
SHARED_OPERATIONS = 2_000.0
"""Such calls that a small NFS server answers in a second."""


@dataclass(frozen=True)
class Priced:
    """A cluster as `plan` sees it. `price`: of all nodes, an hour."""

    name: str
    farm: Farm
    speed: float
    price: float


def lines(name: str, trials: int, measured: Measured, options: Sequence[Option], place: Priced) -> Iterator[str]:
    """Yield what the plan says."""
    farm, crowd, net = place.farm, measured.crowd, measured.network
    slots = farm.nodes * farm.slots
    own = sum(pace.seconds for pace in measured.paces[1])
    yield f"{name} on {place.name}: {plural(trials, 'trial')}, {plural(slots, 'slot')} on {plural(farm.nodes, 'node')}"
    yield ""
    yield f"measured here: {duration(own)} of trials one after the other; {crowd.start_up:.1f} s to start and end,"
    yield f"  {1000 * crowd.between:.0f} ms between two trials, {1000 * crowd.control:.0f} ms of them in the driver;"
    yield f"  {100 * (crowd.factor - 1):.0f} % slower with every core busy"
    if len(options) > 1:
        together = f"{measured.gang.between:.1f} s until several workers of a trial have found one another"
        yield f"  {together}, beside {measured.gang.start_up:.1f} s once"
        yield f"  an all-reduce: {1e6 * net.latency:.0f} us and 1 s for {net.bandwidth / 1e9:.2g} GB, for each step"
    yield ""
    rows = [["workers a trial", "at once", "time", "node hours", "cost", "busy", "efficiency", "failures", "restarts"]]
    for one in options:
        hours = farm.nodes * one.seconds / 3600
        cost = f"{place.price * one.seconds / 3600:,.2f}" if place.price else "-"
        shares = [f"{100 * share:.0f} %" for share in (one.outcome.busy, one.efficiency)]
        counts = [f"{one.outcome.failures:,}", f"{one.outcome.restarts:,}"]
        rows.append(
            [f"{one.workers}", f"{one.at_once:,}", duration(one.seconds), f"{hours:,.2f}", cost, *shares, *counts]
        )
    yield from aligned(rows, left=0)
    yield ""
    best = min(options, key=lambda one: one.seconds)
    yield f"best: {plural(best.workers, 'worker')} a trial, {best.at_once:,} at once: {duration(best.seconds)}"
    yield from _limits(best, measured, farm)


def _short(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def _limits(best: Option, measured: Measured, farm: Farm) -> Iterator[str]:
    """Say where the driver, and a shared folder, would be the limit."""
    control = measured.crowd.control
    mean = best.trial_seconds / max(1, len(measured.paces[1]))
    busy = f"{100 * best.outcome.driver:.0f} %"
    yield f"one driver serves {1 / control:.0f} trials a second: the limit on so many slots for trials shorter than "
    yield f"  {_short(best.at_once * control)}; these take {_short(mean)} each, which keeps it busy {busy} of the time"
    asked = FILE_OPERATIONS * best.outcome.starts_per_second
    verdict = "more" if asked > SHARED_OPERATIONS else "less"
    yield f"the results folder is asked {asked:,.0f} times a second, {verdict} than the "
    yield f"  {SHARED_OPERATIONS:,.0f} that a small NFS server answers"
    if asked > SHARED_OPERATIONS:
        yield "  so the results folder breaks first: --wandb off, longer trials, a faster file system, or fewer at once"
    elif best.outcome.driver > 0.9:
        yield "  so the driver breaks first: run longer trials, fewer at once, or several submissions side by side"
