"""`harness compare --against REF BENCHMARK`: a revision and this tree, in turn on this machine, A B B A.

Both sides train the same trial in processes of their own, an update at a time, and only one of them computes at once:
what the machine does to one it does to its neighbour a moment later. Every trial runs whole once; its record gives
facts and score, its updates give the times. What looks slower is measured again in fresh processes, since where a
process lies in memory is a difference too, and only what is slower both times is called so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness import machine
from harness.compare import facts, timing
from harness.compare.folders import name_of, scored
from harness.compare.result import Comparison, Line, facts_line, time_line
from harness.compare.sides import ROOT, Broken, Pair, Seconds, Starter, Tree, checked_out, commit_of, started
from harness.record import Record
from harness.trial import key_of

WARM = 4
"""Turns of each side left out at first: what an update allocates and looks up once."""
ENOUGH = 32
"""Ratios of each trial, each of two turns a side, for a slowdown of 20 %; for one of half of that twice as many
(results/reference/gate.md). Fewer than about 11 give no interval, and the verdict is inconclusive."""
MOST = 5_000
"""Ratios that are told apart; of a trial with more updates, neighbours are put together."""
TIMES = 3
"""What is not decided is measured so often at most."""


class Measured:
    """What both sides took for each trial: seconds of every turn, by number of the trial, one list a process."""

    def __init__(self, wall: Mapping[int, float] = MappingProxyType({})) -> None:
        """`wall`: seconds that a trial is known to take."""
        self.seconds: dict[int, list[Seconds]] = {}
        self.wall = {**wall}

    def run(self, pair: Pair, number: int, turns: float = math.inf) -> tuple[dict[str, Any], dict[str, Any]]:
        """Train a trial on both sides and keep the times; return what else was observed."""
        begin = time.monotonic()
        base, new, seconds = pair.run(number, turns)
        self.seconds.setdefault(number, []).append(seconds)
        self.wall[number] = time.monotonic() - begin
        return base, new

    def ratios(self, number: int) -> list[float]:
        """New over base, each of two turns a side."""
        return [ratio for seconds in self.seconds.get(number, []) for ratio in ratios_of(seconds)]


def ratios_of(seconds: Seconds) -> list[float]:
    """Ratios of one training, new over base, of an even number of turns each: the side that computes twice in a row,
    A B then B A, finds its data in the cache the second time, and it is the other one next."""
    kept = seconds[WARM:]
    turns = 2 * max(1, math.ceil(len(kept) / (2 * MOST)))
    parts = [kept[at : at + turns] for at in range(0, len(kept) - turns + 1, turns)]
    return [sum(new for _, new in part) / sum(base for base, _ in part) for part in parts]


def compare(
    reference: str,
    benchmark: Path,
    seconds: float,
    accept: bool = False,
    find: float = timing.FINDABLE,
    say: Callable[[str], None] = print,
) -> Comparison:
    """Compare a git revision with this tree within about so many seconds, but run every trial of the benchmark once.
    `find`: a slowdown of so much must not pass."""
    end = time.monotonic() + seconds
    commit = commit_of(reference)
    sides = commit[:12], "this tree"
    with checked_out(commit) as folder, started(benchmark, Tree(sides[0], folder), Tree(sides[1], ROOT)) as starter:
        with starter.pair() as pair:
            labels = pair.base.labels
            if labels != pair.new.labels:
                note = f"no comparable baseline: {sides[0]} makes other trials of {benchmark.name} than this tree"
                return Comparison(*sides, [], [note], accept)
            say(f"{len(labels)} trials of {sides[0]} and of {sides[1]}, in turn")
            first = Measured()
            lines = _observed([first.run(pair, number) for number in range(len(labels))])
        lines += _timed(starter, labels, first, find, end, say)
    here = {"fingerprint": machine.fingerprint(), **machine.facts()}
    return Comparison(*sides, lines, [], accept, here)


def _observed(once: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> list[Line]:
    """Facts and scores, from one run of each trial."""
    variants: dict[str, list[tuple[Record, Record]]] = {}
    for pair in once:
        base, new = (Record(**{k: v for k, v in side.items() if k in Record.__dataclass_fields__}) for side in pair)
        if base.status == new.status == "failed":
            raise Broken(f"a trial failed on both sides: {new.reason}\n  {new.trial}")
        variants.setdefault(key_of(new.settings()), []).append((base, new))
    lines = []
    for pairs in variants.values():
        name = name_of([new for _, new in pairs])
        lines.append(facts_line(name, [fact for base, new in pairs for fact in facts.changed(base, new)]))
        lines.append(scored(name, [base for base, _ in pairs], [new for _, new in pairs]))
    return lines


def _timed(
    starter: Starter, labels: Sequence[str], first: Measured, find: float, end: float, say: Callable[[str], None]
) -> list[Line]:
    """Times; what is not decided by as many ratios as it takes is measured again, as far as the time suffices."""
    numbers, found = [*range(len(labels))], [first]
    enough = math.ceil(ENOUGH * timing.FINDABLE / find)
    _until(starter, first, numbers, enough, end - 0.5 * (end - time.monotonic()))
    while True:
        judged = {i: timing.confirmed([each.ratios(i) for each in found], len(labels) + 1, find) for i in numbers}
        rounds = [together([each.ratios(i) for i in numbers]) for each in found]
        whole = timing.confirmed(rounds, len(labels) + 1, find)
        open_ = [*numbers] if whole.verdict == timing.OPEN else [i for i in numbers if judged[i].verdict == timing.OPEN]
        open_.sort(key=first.wall.__getitem__)  # where the time does not suffice for all
        if not open_ or len(found) == TIMES or time.monotonic() + first.wall[open_[0]] > end:
            break
        say(f"once more: {', '.join(labels[i] for i in open_)}")
        found.append(Measured(first.wall))
        _until(starter, found[-1], open_, enough, end)
    lines = []
    for i in numbers:
        raw = [seconds for each in found for seconds in each.seconds.get(i, [])]
        least = timing.quick([new for seconds in raw for _, new in seconds[WARM:]], 0)
        lines.append(time_line(labels[i], judged[i], least, raw))
    return [*lines, time_line("all together", whole)] if len(numbers) > 1 else lines


def _until(starter: Starter, measured: Measured, numbers: Sequence[int], enough: int, end: float) -> None:
    """Train these trials, each time in fresh processes, until each has enough ratios or its next run would come to lie
    behind the end. One that gave none, with too few updates, gives none the next time."""
    start = 0.0
    while True:
        begin = time.monotonic()
        short = [i for i in numbers if len(measured.ratios(i)) < enough and begin + start + measured.wall[i] < end
                 and (i not in measured.seconds or measured.ratios(i))]  # fmt: skip
        if not short:
            return
        with starter.pair() as pair:
            start = time.monotonic() - begin
            for number in short:
                if time.monotonic() + measured.wall[number] < end:
                    measured.run(pair, number, WARM + 2 * (enough - len(measured.ratios(number))))


def together(measured: Sequence[Sequence[float]]) -> list[float]:
    """Geometric mean over the trials, ratio by ratio: what slows all of them down shows in it first."""
    return [math.exp(math.fsum(map(math.log, ratios)) / len(ratios)) for ratios in zip(*measured, strict=False)]
