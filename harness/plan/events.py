"""What happens on a cluster, second by second: trials in gangs, one driver, nodes that fail and come back.

A discrete-event simulation: nothing waits, so that ten thousand trials on a thousand GPUs take a few seconds. The
driver serves one trial at a time, as Tune's event loop does; a node that fails takes its gangs with it, and each goes
on from its last checkpoint, as `harness/training/keeper.py` writes them.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Farm:
    """What trials run on. Times in seconds."""

    nodes: int
    slots: int  # workers that a node holds
    control: float = 0.0  # of the driver, to start a trial and to take its result
    mean_time_to_failure: float = math.inf  # of one node
    repair: float = 300.0  # until a node that failed is back
    detection: float = 30.0  # until the driver knows, and starts its trials again
    checkpoint: float = 20.0  # between two checkpoints of a trial


@dataclass
class Outcome:
    """How it went. `busy`: share of the slots' time in which a trial ran; `driver`: of its own that it worked."""

    seconds: float = 0.0
    busy: float = 0.0
    driver: float = 0.0
    failures: int = 0
    restarts: int = 0
    lost: float = 0.0  # seconds of slots, between the last checkpoint and a failure
    starts_per_second: float = 0.0


@dataclass(order=True)
class _Event:
    at: float
    order: int
    what: str = field(compare=False)
    who: int = field(compare=False)
    life: int = field(compare=False)


class _Run:
    def __init__(self, seconds: Sequence[float], gang: int, farm: Farm, seed: int) -> None:
        self.farm, self.gang, self.draw = farm, gang, random.Random(seed)
        self.left, self.todo = list(seconds), list(range(len(seconds)))[::-1]
        self.free = [farm.slots] * farm.nodes
        self.events: list[_Event] = []
        self.where: dict[int, list[int]] = {}  # trial -> node of each worker
        self.began, self.life = [0.0] * len(seconds), [0] * len(seconds)
        self.up = [True] * farm.nodes
        self.driver_free = self.driver_busy = self.slot_seconds = 0.0
        self.count, self.outcome, self.unfinished = 0, Outcome(), len(seconds)

    def at(self, when: float, what: str, who: int, life: int = 0) -> None:
        self.count += 1
        heapq.heappush(self.events, _Event(when, self.count, what, who, life))

    def served(self, now: float, share: float) -> float:
        """Let the driver do a share of its work on a trial; return when it is done."""
        work = self.farm.control * share
        self.driver_free = max(self.driver_free, now) + work
        self.driver_busy += work
        return self.driver_free

    def place(self, now: float) -> None:
        """Start trials while a whole gang fits."""
        total = sum(self.free)
        node = 0
        while self.todo and total >= self.gang:
            trial = self.todo.pop()
            nodes: list[int] = []
            while len(nodes) < self.gang:
                if self.free[node]:
                    take = min(self.free[node], self.gang - len(nodes))
                    self.free[node] -= take
                    nodes += [node] * take
                else:
                    node += 1
            total -= self.gang
            self.where[trial] = nodes
            self.began[trial] = begin = self.served(now, 0.5)
            self.at(begin + self.left[trial], "end", trial, self.life[trial])

    def vacate(self, trial: int) -> None:
        for node in self.where.pop(trial):
            if self.up[node]:
                self.free[node] += 1

    def end(self, now: float, trial: int) -> None:
        self.slot_seconds += (now - self.began[trial]) * self.gang
        self.vacate(trial)
        self.unfinished -= 1
        self.outcome.seconds = self.served(now, 0.5)

    def fail(self, now: float, node: int) -> None:
        """A node goes; its trials go on from their checkpoints once the driver has noticed."""
        self.outcome.failures += 1
        self.up[node], self.free[node] = False, 0
        for trial in [trial for trial, nodes in self.where.items() if node in nodes]:
            ran = max(0.0, now - self.began[trial])
            kept = ran // self.farm.checkpoint * self.farm.checkpoint
            self.outcome.lost += (ran - kept) * self.gang
            self.outcome.restarts += 1
            self.slot_seconds += kept * self.gang
            self.left[trial] -= kept
            self.life[trial] += 1  # its end, as foreseen, is void
            self.vacate(trial)
            self.at(now + self.farm.detection, "again", trial)
        self.at(now + self.farm.repair, "back", node)

    def back(self, now: float, node: int) -> None:
        self.up[node], self.free[node] = True, self.farm.slots
        self.fate(now, node)

    def fate(self, now: float, node: int) -> None:
        if math.isfinite(self.farm.mean_time_to_failure):
            self.at(now + self.draw.expovariate(1 / self.farm.mean_time_to_failure), "fail", node)

    def go(self) -> Outcome:
        for node in range(self.farm.nodes):
            self.fate(0.0, node)
        self.place(0.0)
        while self.unfinished:
            event = heapq.heappop(self.events)
            if event.what == "end" and event.life == self.life[event.who]:
                self.end(event.at, event.who)
            elif event.what == "fail":
                self.fail(event.at, event.who)
            elif event.what == "back":
                self.back(event.at, event.who)
            elif event.what == "again":
                self.todo.append(event.who)
            self.place(event.at)
        return self.told()

    def told(self) -> Outcome:
        outcome, slots = self.outcome, self.farm.nodes * self.farm.slots
        if outcome.seconds:
            outcome.busy = self.slot_seconds / (slots * outcome.seconds)
            outcome.driver = self.driver_busy / outcome.seconds
            outcome.starts_per_second = (len(self.left) + outcome.restarts) / outcome.seconds
        return outcome


def simulate(seconds: Sequence[float], gang: int, farm: Farm, seed: int = 0) -> Outcome:
    """Run trials that take `seconds` each on gangs of `gang` slots, in order, and say how it went.

    Raises ValueError where no gang ever fits.
    """
    if gang > farm.nodes * farm.slots:
        raise ValueError(f"a trial needs {gang} slots, and the cluster has {farm.nodes * farm.slots}")
    return _Run(seconds, gang, farm, seed).go()
