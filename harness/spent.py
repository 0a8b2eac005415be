"""Where each second of a trial goes: one clock a process, which always runs for exactly one phase.

A phase inside another one stops the outer, so that phases add up to the time that passed. What happens at every update
is not clocked here: the record has the seconds of each.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.storage import files

PHASES = {
    "imports": "torch, Lightning and the engine, once in a process",
    "data": "load, check and hash the splits",
    "model": "build it, and look which kernel runs",
    "train": "updates, and what Lightning does around them",
    "evaluate": "validation and test splits, and a few samples",
    "probe": "looks at what was trained: exponents, truncation bias",
    "calibrate": "what the machine can do at best, once a command, and the wait for who measures it",
    "checkpoint": "write one",
    "store": "weights and record, claimed, synced, read back",
    "log": "the W&B run",
    "rest": "what is left of the trial",
}
OUTSIDE = ("imports", "calibrate", "store", "log")
"""Phases that are no part of a record: they serve many trials, or it is written before they are over."""
SUFFIX = ".spent.json"


class Clock:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._phases, self._mark = ["rest"], time.perf_counter()

    def _charge(self) -> None:
        now = time.perf_counter()
        self.seconds[self._phases[-1]] += now - self._mark
        self._mark = now

    def enter(self, phase: str) -> None:
        """From now on time goes into a phase."""
        self._charge()
        self._phases.append(phase)

    def leave(self) -> None:
        """The phase is over; the one around it goes on."""
        self._charge()
        self._phases.pop()

    @contextmanager
    def on(self, phase: str) -> Iterator[None]:
        """Time inside goes into a phase, whatever happens there."""
        depth = len(self._phases)
        self.enter(phase)
        try:
            yield
        finally:
            while len(self._phases) > depth:
                self.leave()

    def take(self, *, outside: bool) -> dict[str, float]:
        """Return and forget the seconds of phases that are, or are not, part of a record."""
        self._charge()
        names = [name for name in self.seconds if (name in OUTSIDE) is outside]
        return {name: self.seconds.pop(name) for name in names}


CLOCK = Clock()


def age() -> float:
    """Return the seconds since this process began; 0 where the system does not tell."""
    try:
        since_boot = float(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf(
            "SC_CLK_TCK"
        )
        return max(0.0, float(Path("/proc/uptime").read_text().split()[0]) - since_boot)
    except (OSError, ValueError, IndexError):
        return 0.0


def write(log: Path, told: Mapping[str, Any]) -> None:
    """Keep what a command spent beside its log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    files.publish(log.with_suffix(SUFFIX), json.dumps(told).encode())


def commands(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the file and the account of each command of a benchmark's folder, the oldest first."""
    for path in sorted((folder / "logs").glob(f"*{SUFFIX}")):
        yield path, json.loads(path.read_text())
