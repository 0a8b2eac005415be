"""Variants across tasks: the share of tasks on which each comes within a factor of the best (performance profiles)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def performance_profile(errors: Mapping[str, Mapping[str, float]], factors: Sequence[float]) -> dict[str, list[float]]:
    """Return variant -> share of tasks, for each factor, whose error is at most that times the best variant's.

    `errors`: variant -> task -> error above 0, lower is better; infinite where every trial was lost, or the task was
    not run. Dolan and More, "Benchmarking optimization software with performance profiles", Mathematical Programming 91
    (2002). At factor 1 it is how often a variant is the best; for large factors how often it works at all. The best of
    a task is that of the variants given: leave one out, and the others may rise (Gould and Scott, 2016).
    """
    tasks = sorted({task for by_task in errors.values() for task in by_task})
    best = {task: min(by_task.get(task, math.inf) for by_task in errors.values()) for task in tasks}
    assert all(value > 0 for value in best.values()), "an error of 0 has no ratio: give errors above 0"
    ratios = {
        variant: [_ratio(by_task.get(task, math.inf), best[task]) for task in tasks]
        for variant, by_task in errors.items()
    }
    return {
        variant: [sum(ratio <= factor for ratio in found) / len(tasks) if tasks else math.nan for factor in factors]
        for variant, found in ratios.items()
    }


def _ratio(value: float, best: float) -> float:
    return math.inf if math.isinf(value) else value / best
