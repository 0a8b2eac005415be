"""Shares, such as of diverged trials, with an exact binomial interval."""

from __future__ import annotations

import math
from typing import NamedTuple


class Share(NamedTuple):
    """`hits` of `n`, and an interval that covers the true share with at least `confidence`."""

    hits: int
    n: int
    low: float
    high: float
    confidence: float

    @property
    def share(self) -> float:
        """The share; nan of none."""
        return self.hits / self.n if self.n else math.nan


def share(hits: int, n: int, confidence: float = 0.95) -> Share:
    """Return the exact interval of Clopper and Pearson (Biometrika 26, 1934): the shares of which neither `hits` or
    more nor `hits` or fewer would be a surprise. Never narrower than it says; 0 of 3 still allows 0.71."""
    assert 0 <= hits <= n
    if not n:
        return Share(0, 0, 0.0, 1.0, 1.0)
    from scipy import special

    tail = (1 - confidence) / 2
    low = float(special.betaincinv(hits, n - hits + 1, tail)) if hits else 0.0
    high = float(special.betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return Share(hits, n, low, high, confidence)
