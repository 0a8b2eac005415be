"""Does it score worse than the reference's own seeds do?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.record import Record
from harness.stats import worst
from harness.stats.order import median

ScoreVerdict = Literal["equal", "worse", "not worse", "inconclusive"]
ALPHA = 0.05
"""Chance that one variant or more of a run are called worse although none is."""


@dataclass(frozen=True)
class Scores:
    """Medians over seeds, the one-sided p that the new ones are worse by chance alone, the level that it is held
    against, and the verdict."""

    base: float
    new: float
    p: float
    verdict: ScoreVerdict
    level: float = ALPHA

    @property
    def doubt(self) -> str:
        """The test in words; nothing where there is nothing to test."""
        return "" if self.verdict == "equal" else f", p = {self.p:.2g} (worse: at most {self.level:.2g})"


def judge(
    base: Sequence[float], new: Sequence[float], higher_is_better: bool, variants: int = 1, seeds: int = 0
) -> Scores:
    """Hold new scores against the reference's distribution over seeds: Mann and Whitney's one-sided test, exact.

    ALPHA is shared among the `variants` of a run that are judged (Bonferroni): worse is p <= ALPHA / variants. (Holm's
    steps would add next to nothing: with as few seeds as `needed` the least p is near the first step already; and here
    the verdict on one variant waits for no other.) n seeds a side never give less than p = 1 / C(2n, n), so that one
    variant needs 3 seeds, 2 or 3 need 4, 4 to 12 need 5, 13 to 46 need 6: with those, worse is where each seed scores
    worse than every one of the reference. Fewer seeds, and scores that are not equal, are inconclusive.

    A lost trial is an infinity and the worst. Equal scores on equal seeds are equal. `seeds`: so many a side are to be
    there in the end; not worse is said sooner, where nothing that the missing ones can score would make it worse.
    """
    centers, level = (median(base), median(new)), ALPHA / max(1, variants)
    if list(base) == list(new):
        return Scores(*centers, 1.0, "equal", level)
    if not base or not new:
        return Scores(*centers, math.nan, "inconclusive", level)
    p = worse_by_chance(base, new, higher_is_better)
    if p <= level:
        return Scores(*centers, p, "worse", level)
    best = math.inf if higher_is_better else -math.inf
    whole = [*base, *[best] * (seeds - len(base))], [*new, *[-best] * (seeds - len(new))]
    possible = 1 / math.comb(len(whole[0]) + len(whole[1]), len(whole[0])) <= level
    settled = possible and worse_by_chance(*whole, higher_is_better) > level
    return Scores(*centers, p, "not worse" if settled else "inconclusive", level)


def of(pairs: Iterable[tuple[Record, Record]], variants: int = 1, seeds: int = 0) -> Scores:
    """Judge what a variant scored on both sides, a pair of records for each seed."""
    pairs = [*pairs]
    base, new = zip(*map(both, pairs), strict=True)
    return judge(base, new, pairs[0][1].higher_is_better, variants, seeds)


def both(pair: tuple[Record, Record]) -> tuple[float, float]:
    """Return the scores of a trial on both sides; one that was lost has the worst."""
    base, new = (record.score if record.status == "ok" else worst(record.higher_is_better) for record in pair)
    return base, new


def differ(pairs: Iterable[tuple[Record, Record]]) -> bool:
    """Whether a variant scores something else: only such are judged, and share what may be wrong by chance."""
    return any(base != new for base, new in map(both, pairs))


def needed(variants: int) -> int:
    """Return the fewest seeds a side with which one of so many variants can be called worse."""
    return next(n for n in itertools.count(1) if 1 / math.comb(2 * n, n) <= ALPHA / max(1, variants))


def worse_by_chance(base: Sequence[float], new: Sequence[float], higher_is_better: bool) -> float:
    """Return the share of all ways to deal the scores out in which the new ones rank as low as they do, or lower.

    Counted exactly, ties at their middle rank: ways[n][s] is in how many ways n of the scores have the rank sum s.
    """
    sign = 1 if higher_is_better else -1
    pool = [sign * value for value in [*base, *new]]
    ordered = sorted(pool)
    doubled = [2 * ordered.index(value) + ordered.count(value) + 1 for value in pool]
    seen = sum(doubled[len(base) :])
    ways: list[dict[int, int]] = [{} for _ in range(len(new) + 1)]
    ways[0][0] = 1
    for rank in doubled:
        for taken in range(len(new) - 1, -1, -1):
            for total, count in ways[taken].items():
                ways[taken + 1][total + rank] = ways[taken + 1].get(total + rank, 0) + count
    everything = ways[len(new)]
    return sum(count for total, count in everything.items() if total <= seen) / sum(everything.values())
