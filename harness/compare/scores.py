"""Does it score worse than the reference's own seeds do?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.stats.order import median

ScoreVerdict = Literal["equal", "worse", "not worse", "inconclusive"]
ALPHA = 0.05


@dataclass(frozen=True)
class Scores:
    """Medians over seeds, the one-sided p that the new ones are worse by chance alone, and the verdict."""

    base: float
    new: float
    p: float
    verdict: ScoreVerdict


def judge(base: Sequence[float], new: Sequence[float], higher_is_better: bool) -> Scores:
    """Hold new scores against the reference's distribution over seeds: Mann and Whitney's one-sided test, exact.

    A lost trial is an infinity and the worst. Equal scores on equal seeds are equal. Where so few seeds could never
    reach 5 % (fewer than 3 and 3), and the scores are not equal, the test is inconclusive.
    """
    centers = median(base), median(new)
    if list(base) == list(new):
        return Scores(*centers, 1.0, "equal")
    if not base or not new:
        return Scores(*centers, math.nan, "inconclusive")
    p = worse_by_chance(base, new, higher_is_better)
    if p <= ALPHA:
        return Scores(*centers, p, "worse")
    least = 1 / math.comb(len(base) + len(new), len(new))
    return Scores(*centers, p, "not worse" if least <= ALPHA else "inconclusive")


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
