"""Many comparisons at once: the more are made, the more certainly one looks like a finding by chance."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected by Holm's step-down rule (Scandinavian Journal of Statistics 6, 1979), in their order.

    Reject where the corrected value is at most alpha: then the chance of even one false finding among all of them is at
    most alpha, whatever their dependence. The smallest counts m times, the next m - 1 times, ..., never falling.
    """
    m = len(p_values)
    corrected, largest = [0.0] * m, 0.0
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (m - rank) * p_values[i]))
        corrected[i] = largest
    return corrected
