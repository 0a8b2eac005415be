"""Times of two runs that were not interleaved, judged by how far they wavered inside the runs.

Nothing here can be measured again, and what a busy machine does to one run it need not do to the other. The clock is
the CPU's where every trial of both runs has it, else the wall's. Each trial's updates after the warm-up are cut into
quarters; the time of one is its quickest update, since what disturbs a machine only adds, and that of a trial is its
quickest quarter. A trial wavers by its slowest quarter over its quickest one, and a run by the median of that over its
trials: a machine with other work moves most of them. Between the runs the trials scatter around what they have in
common. Both together, as of independent causes, are how far a time reaches.

CPU time does not run while others have the core, and yet is no count of work: who is switched away again and again
finds the caches cold. In runs whose trials had a tenth of a core every update took up to 1.9 times as much of it, in
all quarters alike. So a run that had less than a quarter of a core in the median over its trials has no times.

What a run has in common (clock, load, or code that all cells share) is one question, `all variants`: the median of all
trials. Between runs of equal code that moved by 0.3 of its reach in the root mean square and by 0.69 at most, alike on
a busy machine and a calmer one (178 pairs of 44 runs by the wall clock; by CPU time 0.2 to 0.5, and 0.92 at most, of 67
pairs: results/reference/gate.md).

What a variant does beside the others is its own question, and one trial cannot answer it: on the same machine every
update of a trial took up to twice as long as in the next run, without one quick update among them, while the trials
before and after it were as quick as ever. So fewer trials than an interval between two of them takes (11 of each of ten
variants) have no lower end: they may say that a variant is not slower, never that it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.compare import timing
from harness.compare.timing import FINDABLE, Timing
from harness.record import Record
from harness.stats.order import median
from harness.stats.quarters import quickest

LEAST_SHARE = 0.25
"""Of a core, in the median over the trials of a run: with less of it nothing is judged."""
BESIDE = 3
"""Variants from which on each is held against what all have in common; fewer have nothing in common that shows."""
LEAST = 9
"""Trials whose median one disturbed trial does not decide; of 7 and fewer drawn from the runs above some alarmed."""
MAD = 1.4826
"""Of a normal distribution, its standard deviation over the median distance from its median."""
Pairs = Sequence[tuple[Record, Record]]
By = Literal["cpu", "wall"]


@dataclass(frozen=True)
class Clocks:
    """Times of two runs. variants: each one's own, where it has any. whole: of all together, where there are several.
    wavered: how far times went to and fro inside the runs, as a share; NaN where nobody can say. beside: each variant
    is held against what all have in common. by: the clock. shares: of a core that the trials of base and of new had, in
    the median; NaN where nobody knows."""

    variants: dict[str, Timing]
    whole: Timing | None = None
    wavered: float = math.nan
    beside: bool = False
    by: By = "wall"
    shares: tuple[float, float] = (math.nan, math.nan)

    @property
    def starved(self) -> bool:
        """Whether a run had too little of a core for its times to tell anything of its code."""
        return any(share < LEAST_SHARE for share in self.shares)


def parts(record: Record, by: By) -> list[float]:
    """Return the seconds of the quickest update in each quarter of a trial; none where it is too short to be cut, or
    the CPU's clock was not read."""
    return record.update_cpu_seconds if by == "cpu" else quickest(record.update_seconds[record.warmup_updates :])


def seconds(record: Record, by: By) -> float:
    """Return what an update took when nobody disturbed it; of the wall clock, which one lucky update may show, the
    lower quartile."""
    if by == "cpu":
        return min(parts(record, by), default=math.nan)
    return timing.quick(record.update_seconds, record.warmup_updates)


def judge(variants: Mapping[str, Pairs]) -> Clocks:
    """Judge the times of the trials of some variants, each of a base and a new run.

    With t = log(new / base) of a trial, c the median of all t, w_base and w_new the logarithms by which the runs
    wavered, and m what the t scatter around c (MAD), the reach is r = sqrt(w_base^2 + w_new^2 + m^2). `whole` is
    c +- r; a variant the median of its t - c, +- r, and where it has enough trials not narrower than the interval
    between two of them (timing.judge). What is not held against the others also reaches over what the machine's own
    least step says (`limit_step_seconds`): so much of it may be the machine.
    """
    every_pair = [pair for pairs in variants.values() for pair in pairs]
    nothing = Clocks(
        {}, shares=(median(b.cpu_share for b, _ in every_pair), median(n.cpu_share for _, n in every_pair))
    )
    if nothing.starved:
        return nothing
    long = [each for pair in every_pair for each in pair if parts(each, "wall")]
    by: By = "cpu" if all(each.update_cpu_seconds for each in long) else "wall"
    cut = {name: [(one, other) for one, other in ((parts(b, by), parts(n, by)) for b, n in pairs) if one and other]
           for name, pairs in variants.items()}  # fmt: skip
    logs = {name: [math.log(min(new) / min(base)) for base, new in pairs] for name, pairs in cut.items() if pairs}
    if not logs:
        return nothing
    every = [x for own in logs.values() for x in own]
    common, beside = median(every), len(logs) >= BESIDE
    sides = zip(*(pair for pairs in cut.values() for pair in pairs), strict=True)
    wavered = math.hypot(*(median([math.log(max(each) / min(each)) for each in side]) for side in sides))
    reach = math.hypot(wavered, MAD * median([abs(x - common) for x in every]))
    machine = _machine(pair for name in logs for pair in variants[name])
    apart = {name: [x - common for x in own] for name, own in logs.items()} if beside else logs
    own = {name: _variant(x, reach, len(logs) + 1, 0.0 if beside else machine) for name, x in apart.items()}
    whole = _timing(every, reach, machine, len(every) < LEAST) if len(logs) > 1 else None
    return Clocks(own, whole, math.expm1(wavered), beside, by, nothing.shares)


def _variant(logs: list[float], reach: float, comparisons: int, machine: float) -> Timing:
    """Judge a variant by its trials: as the whole, and between two of them."""
    between = timing.judge([math.exp(x) for x in logs], comparisons)
    found = _timing(logs, reach, machine, between.high == math.inf)
    if between.high == math.inf:
        return found
    return _judged(found.ratio, min(found.low, between.low), max(found.high, between.high), len(logs))


def _timing(logs: Sequence[float], reach: float, machine: float, few: bool) -> Timing:
    """Reach so far to both sides of the median. `few`: one disturbed trial may be all that is seen, so that nothing is
    called slower, nor quicker, by it."""
    center = median(logs)
    low, high = math.exp(center - reach - max(0.0, machine)), math.exp(center + reach - min(0.0, machine))
    return _judged(math.exp(center), 0.0 if few else low, max(1.0, high) if few else high, len(logs))


def _judged(ratio: float, low: float, high: float, pairs: int) -> Timing:
    return Timing(ratio, low, high, pairs, timing.verdict_of(low, high, FINDABLE))


def _machine(pairs: Iterable[tuple[Record, Record]]) -> float:
    """Logarithm of the machine's least step, new over base, as both runs measured it; 0 where one did not."""
    logs = [math.log(new.limit_step_seconds / base.limit_step_seconds) for base, new in pairs
            if 0 < base.limit_step_seconds < math.inf and 0 < new.limit_step_seconds < math.inf]  # fmt: skip
    return median(logs) if logs else 0.0
