"""The quickest update in each quarter of a trial: what one takes where little disturbs it, and how that wavers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

QUARTERS = 4


def quickest(seconds: Sequence[float]) -> list[float]:
    """Return the least of each quarter of some times; none where there are too few to be cut. What no clock can have
    measured (0, less, not finite) is left out."""
    kept = [each for each in seconds if 0 < each < math.inf]
    ends = [len(kept) * at // QUARTERS for at in range(QUARTERS + 1)]
    return [min(kept[a:b]) for a, b in pairwise(ends)] if len(kept) >= QUARTERS else []
