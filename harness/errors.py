"""The exception tree, and the exit code that each branch ends the command with.

    HarnessError                1   our own fault, unless a branch below says otherwise
    |-- UserError               2   what the user gave: one Fault or many, each with place and remedy
    |-- DamagedStore            6   stored data that cannot be trusted, by file
    `-- Stopped                75   stopped early; the same command goes on where it was
        `-- Paused             75   by a request to stop, and a trial is left at a checkpoint

Exit codes without an exception: 0 done; 3 regression; 4 inconclusive; 5 done, but some trials are not ok.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: what it is, where it stands, what is allowed and what to type instead."""

    what: str
    where: str = ""
    allowed: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.allowed:
            lines.append(f"  allowed: {self.allowed}")
        if self.remedy:
            lines.append(f"  try: {self.remedy}")
        return "\n".join(lines)


class HarnessError(Exception):
    """Root of everything that this project raises on purpose."""

    exit_code = 1


class UserError(HarnessError):
    """The input is at fault. Carries every fault found, so that one run of the command shows them all."""

    exit_code = 2

    def __init__(self, faults: Fault | Iterable[Fault] | str, **parts: str) -> None:
        if isinstance(faults, str):
            faults = Fault(faults, **parts)
        self.faults = [faults] if isinstance(faults, Fault) else list(faults)
        super().__init__("\n".join(map(str, self.faults)))


class DamagedStore(HarnessError):
    """A stored record is cut, altered, or of a version that this code does not know."""

    exit_code = 6


class Stopped(HarnessError):
    """Stopped on request before the end; what is stored stays, and the same command goes on."""

    exit_code = 75


class Paused(Stopped):
    """A request to stop reached a trial, which has no record yet."""


def nearest(name: object, allowed: Iterable[str]) -> str:
    """Return "did you mean 'x'?" for the closest allowed name, or "" where none is close."""
    close = difflib.get_close_matches(str(name), list(allowed), n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else ""


NO_ROOM = ("not enough memory", "can't allocate memory", "out of memory")
"""What torch's allocators say in a RuntimeError: of CPUs, by system, and of GPUs."""


def out_of_memory(error: BaseException) -> bool:
    """Return whether it says that memory does not suffice: Python's own error, or torch's, of a CPU or a GPU."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(said in str(error) for said in NO_ROOM)
    )
