"""Trials in this process, one after the other: a debugger works, and the results are those of Ray, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

from harness.launch.base import Display, Target, execute
from harness.trial import Trial


def launch(trials: Sequence[Trial], target: Target, display: Display, max_concurrent: int) -> None:
    """Run every trial here. `max_concurrent` has nothing to limit: one runs at a time."""
    for trial in trials:
        display.started(trial)
        record = execute(trial, target)
        display.finished(trial, record.status, record.seconds)
