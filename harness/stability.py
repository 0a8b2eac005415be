"""The stability of training: a gradient's decay per step of lag and horizon, loss spikes, a verdict by published rules.

`lags` are steps back from where the loss is read, `norms` the norm of dL/dstate there. Plain Python: level 0.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Sequence
from typing import Literal, NamedTuple

Verdict = Literal["diverged", "exploding", "vanishing", "stable", "n/a"]

GONE = 0.01
"""Share of the norm at the smallest lag below which a gradient counts as gone: defines the horizon."""
EXPLODED = 100.0
"""Growth beyond which a gradient counts as exploding: over the lags, or of p99 over the median of all updates."""

SPIKE, SPIKE_WINDOW, SPIKE_AFTER = 2.0, 50, 10
"""A loss over so many times the median of so many losses before it is a spike; judged from so many losses on."""


class Decay(NamedTuple):
    """Factor on the norm per step of lag (1 keeps it, 0.5 halves it), and the lag where it falls to 1 %."""

    factor: float
    horizon: float


def decay(lags: Sequence[float], norms: Sequence[float]) -> Decay:
    """Return exp(least-squares slope of log norm by lag) and the horizon in steps.

    The slope uses the finite norms above zero; a norm of zero has no logarithm, so with fewer than two others the
    factor is 0 where something fell to zero, and nan where nothing can be said. The horizon is found by `horizon`.
    No lags: nan, nan.
    """
    points = sorted(zip(lags, norms, strict=True))
    positive = [(lag, math.log(norm)) for lag, norm in points if 0 < norm < math.inf]
    if len({lag for lag, _ in positive}) >= 2:
        slope = _slope(positive)
        factor = math.exp(slope) if slope < 700 else math.inf
    else:
        factor = 0.0 if len(points) > 1 and any(norm == 0 for _, norm in points) else math.nan
    return Decay(factor, horizon(lags, norms))


def horizon(lags: Sequence[float], norms: Sequence[float]) -> float:
    """Return the lag in steps where the norm first falls to 1 % of its value at the smallest lag.

    Between two measured lags the norm is taken as log-linear. A norm of zero is gone at its own lag: nothing is known
    about the way there. inf where it stays above 1 % over all measured lags; nan without lags or with a NaN norm.
    """
    points = sorted(zip(lags, norms, strict=True))
    if not points or any(math.isnan(norm) for _, norm in points):
        return math.nan
    limit = GONE * points[0][1]
    before, above = points[0]
    for lag, norm in points:
        if norm <= limit and norm < math.inf:
            if norm == 0 or above == math.inf:
                return float(lag)
            share = (math.log(above) - math.log(limit)) / (math.log(above) - math.log(norm))
            return before + share * (lag - before)
        before, above = lag, norm
    return math.inf


def verdict(status: str, lags: Sequence[float], norms: Sequence[float], norm_median: float, norm_p99: float) -> Verdict:
    """Judge one trial; the first rule that holds decides.

    1. diverged:  the trial ended as diverged (a value that is not finite, or a loss out of bounds).
    2. n/a:       it failed, or has fewer than two lags: no gradient runs through time (a feed-forward net).
    3. exploding: |dL/dstate| at the largest lag is more than 100 times that at the smallest, or not finite anywhere;
                  or p99 of the gradient norm before clipping is more than 100 times its median over the updates.
    4. vanishing: |dL/dstate| falls to 1 % of its value at the smallest lag within the measured lags (`horizon`).
    5. stable:    otherwise.

    `norm_median` and `norm_p99` are of the global gradient norm before clipping; nan where not measured.
    """
    if status == "diverged":
        return "diverged"
    if status != "ok" or len(set(lags)) < 2:
        return "n/a"
    points = sorted(zip(lags, norms, strict=True))
    if any(not math.isfinite(norm) for _, norm in points) or points[-1][1] > EXPLODED * points[0][1]:
        return "exploding"
    if norm_p99 > EXPLODED * norm_median:
        return "exploding"
    return "vanishing" if horizon(lags, norms) < math.inf else "stable"


def spikes(losses: Sequence[float]) -> int:
    """Count the updates whose loss is more than 2 times the median of the 50 losses before it.

    Before the 51st update the median is of what there is, and with fewer than 10 there is none yet. A loss that is not
    finite is an event of its own: it is neither a spike nor part of a median. A loss of mean 0 or below has no spikes
    that mean anything; all our losses are above 0.
    """
    recent: deque[float] = deque()
    ordered: list[float] = []
    count = 0
    for loss in losses:
        if not math.isfinite(loss):
            continue
        n = len(ordered)
        count += n >= SPIKE_AFTER and loss > SPIKE * (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
        if n == SPIKE_WINDOW:
            del ordered[bisect.bisect_left(ordered, recent.popleft())]
        recent.append(loss)
        bisect.insort(ordered, loss)
    return count


def _slope(points: list[tuple[float, float]]) -> float:
    """Least-squares slope of y by x; at least two different x."""
    mean_x = math.fsum(x for x, _ in points) / len(points)
    mean_y = math.fsum(y for _, y in points) / len(points)
    covered = math.fsum((x - mean_x) ** 2 for x, _ in points)
    return math.fsum((x - mean_x) * (y - mean_y) for x, y in points) / covered
