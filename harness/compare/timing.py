"""Is it slower? Decided from the measured noise of the very run: an interval of the ratio, never a bare threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.stats.order import median, median_ranks

TimeVerdict = Literal["slower", "faster", "not significant", "inconclusive"]
OPEN: TimeVerdict = "inconclusive"

FINDABLE = 0.20
"""A slowdown that must not pass: where the interval allows it, the run is inconclusive, not fine."""
MARGIN = 0.25
"""Ratios within this share of it are nobody's business (5 % of 20 %): other code, other addresses, other alignment."""
ALPHA = 0.01
"""Chance that one ratio or more of a run lie below their intervals; what alarms must do so twice (against.py)."""


@dataclass(frozen=True)
class Timing:
    """Median ratio new / base with its interval, over so many pairs of neighbouring measurements."""

    ratio: float
    low: float
    high: float
    pairs: int
    verdict: TimeVerdict


def judge(ratios: Sequence[float], comparisons: int = 1, find: float = FINDABLE) -> Timing:
    """Judge ratios new / base of neighbouring measurements (A B, B A, A B, ...).

    The interval is that of the median between two of the ratios: no distribution is assumed, and a few wild ratios, as
    a busy machine makes them, move it little. Its level is shared among the `comparisons` of a run. Slower: the whole
    interval lies above 1 + find / 4; faster: below the inverse of that. Inconclusive: it reaches 1 + find, so that a
    real slowdown may hide in the noise, and does not lie above the margin. Not significant: everything else.
    """
    logs = [math.log(ratio) for ratio in ratios if 0 < ratio < math.inf]
    if not logs:
        return Timing(math.nan, math.nan, math.nan, 0, "inconclusive")
    wanted = 1 - 2 * ALPHA / max(1, comparisons)
    low_rank, high_rank, reached = median_ranks(len(logs), wanted)
    ordered = sorted(logs)
    ends = (ordered[low_rank - 1], ordered[high_rank - 1]) if reached >= wanted else (-math.inf, math.inf)
    low, high = (math.exp(end) if end < 700 else math.inf for end in ends)
    return Timing(math.exp(median(logs)), low, high, len(logs), verdict_of(low, high, find))


def confirmed(measured: Sequence[Sequence[float]], comparisons: int = 1, find: float = FINDABLE) -> Timing:
    """Judge what was measured once or several times, all of it; slower is only what was slower twice by itself."""
    judged = judge([ratio for ratios in measured for ratio in ratios], comparisons, find)
    alone = [judge(ratios, comparisons, find).verdict for ratios in measured]
    return replace(judged, verdict=OPEN) if judged.verdict == "slower" and alone.count("slower") < 2 else judged


def verdict_of(low: float, high: float, find: float) -> TimeVerdict:
    """Decide by an interval of the ratio, as `judge` does."""
    margin = 1 + MARGIN * find
    if low > margin:
        return "slower"
    if high < 1 / margin:
        return "faster"
    return "inconclusive" if high >= 1 + find else "not significant"


def quick(seconds: Sequence[float], warm: int) -> float:
    """Return the lower quartile of the times of updates after the warm-up: what an update takes when nobody disturbs
    it, and not the one lucky minimum."""
    kept = sorted(seconds[warm:])
    return kept[len(kept) // 4] if kept else math.nan
