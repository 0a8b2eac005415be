"""Many comparisons at once: the more are made, the more certainly one looks like a finding by chance."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float], among: int | None = None) -> list[float]:
    """Return p-values corrected by Holm's step-down rule (Scandinavian Journal of Statistics 6, 1979), in their order.

    Reject where the corrected value is at most alpha: then the chance of even one false finding among all of them is at
    most alpha, whatever their dependence. The smallest of m counts m times, the next m - 1 times, ..., never falling.
    `among`: m, where these were picked out of more comparisons: the best variant against each other one stands for all
    pairs, for it was chosen by the same scores. The comparisons that are not given count as the largest.
    """
    m = len(p_values) if among is None else among
    assert m >= len(p_values)
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (m - rank) * p_values[i]))
        corrected[i] = largest
    return corrected
