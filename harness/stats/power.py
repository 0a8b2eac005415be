"""How many seeds would be needed to tell two variants apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

MOST = 10_000


def seeds_needed(gains: Sequence[float], power: float = 0.8, alpha: float = 0.05) -> int | None:
    """Return the number of seeds with which a signed-rank test would find a difference like this one at `alpha` with
    probability `power`; None where nothing can be said: fewer than 3 pairs, no spread, or more than 10,000 seeds.

    gains: differences by seed, finite (leave lost trials out: they are a finding of their own). The sample size of
    Student's paired test with this effect size, found by the noncentral t distribution, divided by the signed-rank
    test's efficiency 3 / pi against it for normal differences, and at least the number whose p-value can reach alpha.
    What it rests on is as uncertain as the effect: of three seeds it is a hint.
    """
    n = len(gains)
    if n < 3 or not all(map(math.isfinite, gains)):
        return None
    mean = math.fsum(gains) / n
    deviation = math.sqrt(math.fsum((gain - mean) ** 2 for gain in gains) / (n - 1))
    if not deviation or not mean:
        return None
    effect = abs(mean) / deviation
    least = math.ceil(1 - math.log2(alpha))  # 2 / 2^n <= alpha
    low, high = 2, min(MOST, 4 + math.ceil(8 / effect**2))  # about what a normal distribution takes: where n is much
    while not _power(high, effect, alpha) >= power:  # larger than it need be, scipy's noncentral t is no number
        if high == MOST:
            return None
        low, high = high + 1, min(MOST, 2 * high)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(middle, effect, alpha) >= power else (middle + 1, high)
    return max(least, math.ceil(low * math.pi / 3))


def _power(n: int, effect: float, alpha: float) -> float:
    """Probability that Student's two-sided paired test of n pairs finds an effect of this size, with its sign."""
    from scipy import special

    return float(1 - special.nctdtr(n - 1, effect * math.sqrt(n), special.stdtrit(n - 1, 1 - alpha / 2)))
