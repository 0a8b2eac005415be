"""Numbers with their doubt: medians over seeds and intervals that assume no distribution.

Plain Python, no scipy: this is level 0 and imports in an instant. The tests check it against scipy and by simulation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple


class Summary(NamedTuple):
    """Median of `n` values, and an interval [low, high] that covers the true median with probability `confidence`.

    An infinite end or center stands for trials that diverged or failed. With no values: nan, nan, nan, 0, 0.
    """

    center: float
    low: float
    high: float
    confidence: float
    n: int


def worst(higher_is_better: bool) -> float:
    """Return what a trial that diverged or failed counts as: no score is worse."""
    return -math.inf if higher_is_better else math.inf


def median(values: Iterable[float]) -> float:
    """Return the median; infinite values are ordinary ends, a NaN is left out; nan where nothing is left."""
    return _middle(sorted([value for value in values if value == value]))


def _middle(kept: Sequence[float]) -> float:
    """Median of sorted values; nan of none."""
    if not kept:
        return math.nan
    low, high = kept[(len(kept) - 1) // 2], kept[len(kept) // 2]
    return low if low == high else (low + high) / 2


def summary(values: Iterable[float], higher_is_better: bool, confidence: float = 0.95) -> Summary:
    """Return median and order-statistic interval of one value per seed.

    A NaN counts as the worst value, never as missing: leave out beforehand what must not count. The interval is the
    narrowest pair of order statistics, by rank, whose exact coverage reaches `confidence` (`median_ranks`); where n
    is too small for that (n < 6 at 0.95) it is the smallest and the largest value. `Summary.confidence` is the exact
    coverage of the pair taken: 0.75 for three seeds, 0.969 for six.
    """
    bad = worst(higher_is_better)
    kept = sorted([value if value == value else bad for value in values])
    if not kept:
        return Summary(math.nan, math.nan, math.nan, 0.0, 0)
    low, high, coverage = median_ranks(len(kept), confidence)
    if not higher_is_better:  # of two equally narrow pairs the one towards the worse end, whichever end that is
        low, high = len(kept) + 1 - high, len(kept) + 1 - low
    return Summary(_middle(kept), kept[low - 1], kept[high - 1], coverage, len(kept))


@lru_cache(maxsize=1024)
def median_ranks(n: int, confidence: float) -> tuple[int, int, float]:
    """Return (low, high, coverage): ranks from 1 of the pair of order statistics that covers the median.

    The number B of n values below the true median is Binomial(n, 1/2), so X_(low) <= median <= X_(high) holds with
    probability P(low <= B <= high - 1), exactly for any continuous distribution and at least for any other
    (David and Nagaraja, "Order Statistics", 2003, section 7.1). The ranks depend on n alone: choosing by the observed
    width would spoil the coverage. Grown from the middle, always by the likelier rank, hence the narrowest.
    """
    low, high = (n + 1) // 2, (n + 1) // 2  # covers no value of B yet
    ways, reached = math.comb(n, low), 0  # ways = C(n, low) of the next rank upwards
    below = ways * low // (n + 1 - low)  # C(n, low - 1): of the next rank downwards
    while reached / 2**n < confidence and (low > 1 or high < n):
        if low > 1 and (high >= n or below >= ways):
            low -= 1
            reached += below
            below = below * low // (n + 1 - low)
        else:
            reached += ways
            high += 1
            ways = ways * (n + 1 - high) // high
    return low, high, reached / 2**n
