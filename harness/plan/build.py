"""The plan of a benchmark: measure its trials here, then try every split of the place that is asked about."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from harness import cost, machine
from harness.errors import Fault, UserError
from harness.jobs.cluster import Cluster, Node
from harness.launch.gpus import at_once
from harness.plan import crowd, pace, reduce
from harness.plan.crowd import Gang
from harness.plan.events import Farm
from harness.plan.pace import Pace
from harness.plan.reduce import Network
from harness.plan.split import Measured, Option, option
from harness.plan.told import Priced
from harness.trial import Trial

MOST_SHAPES = 24
"""Kinds of trial that are measured; the rest of a large sweep in proportion to the forecast from shapes."""
MOST_WORKERS = 64


def place_of(cluster: Cluster | None, name: str, threads: int) -> Priced:
    """Return the slots of a cluster, or of this machine: a worker takes the share of a GPU that the file names, or
    one where nodes have any, or its threads."""
    node = cluster.node if cluster else Node(cpus=machine.cpu_count())
    if node is None:
        remedy = "node: {cpus: 16, count: 4, price: 0.7}"
        raise UserError(Fault("the plan needs to know its nodes", where=name, remedy=remedy))
    share = cluster.gpus_per_trial if cluster else 0.0
    slots = at_once(share, [node.gpus]) if share else node.gpus or node.cpus // threads
    if not slots:
        raise UserError(Fault(f"a trial takes {threads} threads, and a node has {node.cpus} CPUs", where=name))
    hours = node.hours_between_failures
    farm = Farm(node.count, slots, mean_time_to_failure=3600 * hours if hours else math.inf)
    return Priced(name, farm, node.speed, node.price * node.count)


def widths(trials: Sequence[Trial], slots: int) -> list[int]:
    """Return the numbers of workers worth a look: 1, 2, 4 ... that every batch can be shared among."""
    smallest = min(*(trial.batch_size for trial in trials), slots, MOST_WORKERS)
    return [2**k for k in range(smallest.bit_length()) if 2**k <= smallest]


def measure(
    trials: Sequence[Trial], workers: Sequence[int], network: Network | None, say: Callable[[str], None]
) -> Measured:
    """Measure trials on each number of workers here. `network`: what is known of the place's own.

    A machine with room for one worker alone measures no start of a gang.
    """
    kinds: dict[str, Trial] = {}
    for trial in trials:
        kinds.setdefault(pace.shape(trial), trial)
    chosen = _spread(list(kinds.values()), max(4, MOST_SHAPES // len(workers)))
    say(f"measuring {len(chosen)} of {len(kinds)} kinds of trial, on {max(workers)} workers and fewer ...")
    paces = {width: _paces(trials, kinds, chosen, width) for width in workers}
    middle = sorted(range(len(trials)), key=lambda k: paces[1][k].seconds)[len(trials) // 2]
    middle = next(k for k, trial in enumerate(trials) if trial == kinds[pace.shape(trials[middle])])
    say("measuring what surrounds trials ...")
    around, one = crowd.measured(trials[middle], paces[1][middle]), trials[middle]
    if len(workers) == 1:
        return Measured(paces, around, Network(0.0, math.inf))
    room = machine.cpu_count() >= 2 * one.threads
    start = crowd.gang(one, paces[1][middle], around.command) if room else Gang(around.start_up)
    return Measured(paces, around, network or reduce.measured(), start)


def _spread(kinds: list[Trial], most: int) -> list[Trial]:
    """Return at most so many kinds, from the cheapest to the dearest."""
    ordered = sorted(kinds, key=lambda trial: cost.estimate(trial).seconds)
    count = min(most, len(ordered))
    return [ordered[round(k * (len(ordered) - 1) / max(1, count - 1))] for k in range(count)]


def _paces(trials: Sequence[Trial], kinds: dict[str, Trial], chosen: list[Trial], width: int) -> list[Pace]:
    known = {pace.shape(trial): pace.measured(trial, width) for trial in chosen}
    for shape, trial in kinds.items():
        if shape not in known:
            near = min(chosen, key=lambda one: abs(cost.estimate(one).seconds - cost.estimate(trial).seconds))
            known[shape] = known[pace.shape(near)].longer(trial, near)
    return [known[pace.shape(trial)] for trial in trials]


def options(measured: Measured, place: Priced, most: int | None) -> list[Option]:
    """Return how each split would go."""
    return [option(width, measured, place.farm, place.speed, most) for width in measured.paces]


def repeated(measured: Measured, trials: int) -> Measured:
    """Return what was measured as if the benchmark had so many trials."""
    paces = {width: [own[k % len(own)] for k in range(trials)] for width, own in measured.paces.items()}
    return Measured(paces, measured.crowd, measured.network, measured.gang)
