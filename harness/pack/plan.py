"""Which trials train together, and which by themselves and why. No torch: a plan is made before anything heavy."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from harness import cost
from harness.errors import Fault, UserError
from harness.trial import CLIPPING, Trial

MOST = 16
"""Trials of a pack under `auto`: measured, more of them win little and hold more memory."""
OWN = {"seed", "learning_rate", "schedule", "weight_decay", "select", "shuffled_targets", *CLIPPING}
"""Settings in which the trials of a pack may differ."""
Gain = Callable[[Trial, int, float], float]
"""How many times as fast so many trials of this shape train packed as one by one; NaN where finding out is not worth
its time beside so many seconds of work."""
WORTH = 1.1
"""A gain below this is none: calibration is as sure as that."""


class Plan(NamedTuple):
    """Trials in packs, of one or more each, in order; and what to tell of it."""

    packs: list[list[Trial]]
    told: list[str]


def asked(pack: str) -> int | None:
    """Return the most trials of a pack: None for `auto`, 1 for `off`. Raises UserError."""
    if pack in ("auto", "off"):
        return None if pack == "auto" else 1
    if not pack.isdecimal() or not 1 < int(pack) <= 4_096:
        allowed = "auto, off, or the most trials of a pack, 2 to 4096"
        raise UserError(Fault(f"--pack: {pack!r}", allowed=allowed, remedy="--pack auto"))
    return int(pack)


def drops(trial: Trial) -> bool:
    """Return whether units are dropped in training."""
    return bool(trial.dropout or trial.input_dropout or trial.output_dropout)


def alone(trial: Trial, gpu: bool = False) -> str:
    """Return why a trial cannot share an update with others; "" where it can. `gpu`: it trains on one."""
    task = trial.build_task()
    if task.written:
        return "a decoder writes the answer step by step"
    if task.over_steps:
        return "the loss is over all steps of a sequence together"
    if trial.changes:
        return "its settings change on the way"
    if drops(trial) and gpu:
        return "dropout on a GPU draws from one generator for all"
    if trial.precision not in ("float32", "float64"):
        return f"precision is {trial.precision}"
    usual = task.usual(trial.batch_size, False)
    if usual.read < usual.read_padded and not task.stream and drops(trial):
        return "dropout draws masks as long as a trial's own batch, and sequences differ in length"
    counted_back = task.mapping != "many-to-many" or trial.bptt_stride is not None
    if usual.read < usual.read_padded and not task.stream and trial.bptt_length is not None and counted_back:
        return "windows are counted from the end of sequences that differ in length"
    return ""


def shape_of(trial: Trial) -> str:
    """Return one text for trials that can be one program."""
    trial = trial.normalised()
    settings = {name: value for name, value in trial.model_dump(mode="json").items() if name not in OWN}
    settings["cell"] = {name: v for name, v in trial.cell.items() if name not in trial.build_cell().starts}
    return json.dumps(settings, sort_keys=True)


def plan(trials: Sequence[Trial], most: int | None, workers: int, gain: Gain, gpu: bool = False) -> Plan:
    """Put trials into packs of at most `most`; None: of up to MOST where there is a `gain`, and as many packs as keep
    all `workers` busy to the end. `gpu`: they train on one."""
    if most == 1:
        return Plan([[trial] for trial in trials], [])
    groups: dict[str, list[Trial]] = {}
    why: Counter[str] = Counter()
    for trial in trials:
        reason = alone(trial, gpu)
        why[reason] += bool(reason)
        groups.setdefault(trial.id if reason else shape_of(trial), []).append(trial)
    if len(groups) == len(trials) > 1 and not why.total():
        why["no two of them have one shape"] = len(trials)
    packs: list[list[Trial]] = []
    for members in groups.values():
        if most:
            count = math.ceil(len(members) / most)
        else:
            count, reason = _auto(members, workers, gain)
            why[reason] += len(members) * bool(reason)
        packs += _even(members, count)
    return Plan(packs, _told(packs, why))


def _auto(members: Sequence[Trial], workers: int, gain: Gain) -> tuple[int, str]:
    """Return into how many packs trials that may share one go, and where each goes by itself, why."""
    count = min(len(members), math.ceil(len(members) / (MOST * workers)) * workers)
    size = math.ceil(len(members) / count)
    if size == 1:
        return count, "all of one shape run at once" if count > 1 else ""
    times = gain(members[0], size, sum(cost.estimate(trial).seconds for trial in members))
    if times >= WORTH:
        return count, ""
    found = "too little work to measure it" if math.isnan(times) else f"{times:.2f} times as fast"
    return len(members), f"{members[0].cell['name']}, {size} at once: {found}"


def _even(members: Sequence[Trial], count: int) -> list[list[Trial]]:
    """Cut into so many parts, all about equally large."""
    edges = [round(len(members) * i / count) for i in range(count + 1)]
    return [list(members[a:b]) for a, b in pairwise(edges)]


def _told(packs: Sequence[Sequence[Trial]], why: Counter[str]) -> list[str]:
    together = [len(pack) for pack in packs if len(pack) > 1]
    packs_of = "1 pack of" if len(together) == 1 else f"{len(together)} packs of up to"
    lines = [f"{sum(together)} trials train in {packs_of} {max(together)}"] if together else []
    return lines + [f"{count} trials train by themselves: {reason}" for reason, count in why.items() if count]
