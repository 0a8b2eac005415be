"""Trials in this process, one after the other: a debugger works, and the results are those of Ray, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

from harness.launch.base import Display, Target, execute_pack
from harness.trial import Trial


def launch(packs: Sequence[Sequence[Trial]], target: Target, display: Display, max_concurrent: int) -> None:
    """Run every pack here. `max_concurrent` has nothing to limit: one runs at a time."""
    for pack in packs:
        for trial in pack:
            display.started(trial)
        for trial, record in zip(pack, execute_pack(pack, target), strict=True):
            display.finished(trial, record.status, record.seconds)
