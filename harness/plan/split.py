"""Every way to split a cluster between trials and the workers of each, and how each would go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.plan.crowd import Crowd, Gang
from harness.plan.events import Farm, Outcome, simulate
from harness.plan.pace import Pace
from harness.plan.reduce import Network

GRADIENT_BYTES = 4  # of each weight, in an all-reduce


@dataclass(frozen=True)
class Measured:
    """What was measured here: the pace of each trial by number of workers, and what surrounds trials."""

    paces: Mapping[int, Sequence[Pace]]  # workers -> one for each trial, in order
    crowd: Crowd
    network: Network
    gang: Gang = field(default_factory=Gang)


@dataclass(frozen=True)
class Option:
    """One split. `at_once`: trials that run at a time."""

    workers: int
    at_once: int
    outcome: Outcome
    seconds: float  # of the command
    trial_seconds: float  # of all trials together, each on its gang
    alone_seconds: float  # of all trials together, each on one worker

    @property
    def efficiency(self) -> float:
        """Share of a gang's slots that does the work of one worker."""
        return self.alone_seconds / (self.workers * self.trial_seconds)


def seconds_of(pace: Pace, workers: int, measured: Measured, speed: float, crowded: float) -> float:
    """Return the seconds of a trial on a gang: its own, those of its all-reduces and of its start as a gang."""
    own = pace.seconds * crowded / speed
    if workers == 1:
        return own
    talk = measured.network.seconds(GRADIENT_BYTES * pace.parameters, workers)
    return own + pace.updates * talk + measured.gang.between


def option(workers: int, measured: Measured, farm: Farm, speed: float = 1.0, most: int | None = None) -> Option:
    """Return how trials of so many workers would go, at most `most` of them at once."""
    slots = farm.nodes * farm.slots
    at_once = min(slots // workers, most or slots, len(measured.paces[workers]))
    company = min(farm.slots, at_once * workers / farm.nodes) - 1  # on each node, and at most all other slots
    crowded = 1 + (measured.crowd.factor - 1) * max(0.0, company) / max(1, farm.slots - 1)
    own = [seconds_of(pace, workers, measured, speed, crowded) for pace in measured.paces[workers]]
    if most and at_once < slots // workers:  # as if the cluster were no larger
        farm = replace(farm, nodes=1, slots=at_once * workers)
    beside = measured.crowd.between - measured.crowd.control  # the driver's part is simulated
    outcome = simulate([one + beside for one in own], workers, replace(farm, control=measured.crowd.control))
    alone = sum(seconds_of(pace, 1, measured, speed, crowded) for pace in measured.paces[1])
    start = measured.crowd.start_up if workers == 1 else measured.gang.start_up
    return Option(workers, at_once, outcome, start + outcome.seconds, math.fsum(own), alone)
