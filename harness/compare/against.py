"""`harness compare --against REF BENCHMARK`: a revision and this tree, in turn on this machine, A B B A.

Both sides train the same trial in processes of their own, an update at a time, and only one of them computes at once:
what the machine does to one it does to its neighbour a moment later. Every trial runs whole once; its record gives
facts and score, its updates give the times. What looks slower is measured again in fresh processes, since where a
process lies in memory is a difference too, and only what is slower both times is called so. What computes something
else is trained with further seeds, until its scores can be judged (variants.py). When the time is up, nobody waits for
an answer any more: what is open then is undecided.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness import machine
from harness.compare import timing
from harness.compare.result import Comparison, Line, time_line
from harness.compare.sides import ROOT, Late, Pair, Refused, Seconds, Starter, Tree, checked_out, commit_of, started
from harness.compare.variants import lines_of, variants_of
from harness.errors import Fault

if TYPE_CHECKING:
    from harness.spec import Benchmark

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
        """Train a trial on both sides and keep the times, whatever becomes of it; return what else was observed."""
        begin = time.monotonic()
        self.seconds.setdefault(number, []).append([])
        base, new = pair.run(number, self.seconds[number][-1], turns)
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


def refused(benchmark: Benchmark) -> list[Fault]:
    """What of a benchmark a side cannot run: it trains trial after trial, each in one process and to its end."""
    where, faults = str(benchmark.path), []
    apart = (
        f"harness run at both revisions, --results A and B, then: harness compare A/{benchmark.name} B/{benchmark.name}"
    )
    if not benchmark.trials:
        faults.append(Fault("this benchmark selects no trial", where=where))
    for workers in sorted({trial.workers for trial in benchmark.trials} - {1}):
        what = f"workers: {workers}: --against trains each trial in one process"
        faults.append(Fault(what, where, "workers: 1", f"workers: 1, or {apart}"))
    if benchmark.search and benchmark.search.kind != "random":
        what = f"search: {benchmark.search.kind}: what runs, or how long, depends on what others score meanwhile"
        faults.append(Fault(what, where, "search: grid, or kind: random", f"search: grid, or {apart}"))
    return faults


def compare(
    reference: str,
    benchmark: Path,
    end: float,
    accept: bool = False,
    find: float = timing.FINDABLE,
    say: Callable[[str], None] = print,
) -> Comparison:
    """Compare a git revision with this tree, until `end` of the monotonic clock at the latest. `find`: a slowdown of so
    much must not pass."""
    commit = commit_of(reference)
    base, here = commit[:12], Tree("this tree", ROOT)
    lines: list[Line] = []
    notes: list[str] = []
    try:
        with checked_out(commit, end) as folder, started(benchmark, Tree(base, folder), here, end) as starter:
            lines = _compared(starter, find, say)
        if not lines:
            notes = [f"no comparable baseline: {base} makes other trials of {benchmark.name} than this tree"]
    except Refused as why:
        notes = [f"no comparable baseline: {why}"]
    except Late as late:  # before a first trial had begun
        notes = [f"nothing was compared: {late}; try a larger --seconds"]
    return Comparison(base, here.name, lines, notes, accept, {"fingerprint": machine.fingerprint(), **machine.facts()})


def _compared(starter: Starter, find: float, say: Callable[[str], None]) -> list[Line]:
    """All lines; none where the sides make unlike trials."""
    once = {}
    with starter.pair() as pair:
        labels, settings = pair.new.labels, pair.new.settings
        if pair.base.labels != labels:
            return []
        say(f"{len(labels)} trials of {pair.base.name} and of {pair.new.name}, in turn")
        first = Measured(dict.fromkeys(range(len(labels)), math.inf))  # longer than any time, until it is known
        with suppress(Late):
            for number in range(len(labels)):
                once[number] = first.run(pair, number)
    variants = variants_of(settings, once)
    times = _timed(starter, labels, first, find, starter.end, say)
    return [*lines_of(variants, starter, first.wall, say), *times]


def _timed(
    starter: Starter, labels: Sequence[str], first: Measured, find: float, end: float, say: Callable[[str], None]
) -> list[Line]:
    """Times; what is not decided by as many ratios as it takes is measured again, as far as the time suffices."""
    numbers, found = [*range(len(labels))], [first]
    enough = math.ceil(ENOUGH * timing.FINDABLE / find)
    _until(starter, first, numbers, enough, end - 0.5 * (end - time.monotonic()))
    while True:
        judged = {i: timing.confirmed([each.ratios(i) for each in found], len(labels) + 1, find) for i in numbers}
        timed = [i for i in numbers if first.ratios(i)]  # the others are too short, or there was no time for them
        rounds = [together([each.ratios(i) for i in timed]) for each in found]
        whole = timing.confirmed(rounds, len(labels) + 1, find)
        open_ = timed if whole.verdict == timing.OPEN else [i for i in timed if judged[i].verdict == timing.OPEN]
        open_ = sorted(open_, key=first.wall.__getitem__)  # where the time does not suffice for all
        if not open_ or len(found) == TIMES or time.monotonic() + first.wall[open_[0]] > end:
            break
        say(f"once more: {', '.join(labels[i] for i in open_)}")
        found.append(Measured(first.wall))
        _until(starter, found[-1], open_, enough, end)
    lines = [_line(labels[i], judged[i], [raw for each in found for raw in each.seconds.get(i, [])]) for i in numbers]
    return [*lines, _line("all together", whole, [], "no trial has one")] if len(numbers) > 1 else lines


def _line(name: str, judged: timing.Timing, raw: Sequence[Seconds], none: str = "none was left for it") -> Line:
    """Say what a time did, or why there is none. `none`: why, where nothing was run."""
    if not judged.pairs:
        made = max(map(len, raw), default=0)
        few = f"a ratio takes 2 updates a side after the first {WARM}, and there are {made}"
        return Line(name, "time", timing.OPEN, f"no time to compare: {few if raw else none}")
    return time_line(name, judged, timing.quick([new for seconds in raw for _, new in seconds[WARM:]], 0), raw)


def _until(starter: Starter, measured: Measured, numbers: Sequence[int], enough: int, end: float) -> None:
    """Train these trials, each time in fresh processes, until each has enough ratios or its next run would come to lie
    behind the end. One that gave none, with too few updates, gives none the next time."""
    start = 0.0
    with suppress(Late):
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
