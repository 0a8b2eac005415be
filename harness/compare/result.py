"""The result of a comparison: one line a question, and one exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from harness.compare.facts import Fact
from harness.compare.scores import Scores
from harness.compare.timing import Timing
from harness.metrics import METRICS

Kind = Literal["time", "facts", "score"]
KINDS: tuple[Kind, ...] = get_args(Kind)
BAD = {"slower", "changed", "worse"}
CRASHED = "crashed"
OPEN = {"inconclusive"}


@dataclass(frozen=True)
class Line:
    """One question about one variant: `name`, what was asked, the verdict in a word, and the numbers in a sentence."""

    name: str
    kind: Kind
    verdict: str
    numbers: str
    timing: Timing | None = None
    seconds: float = 0.0
    """Of an update or a trial of the new side, for tools that draw lines over commits."""
    raw: Sequence[Sequence[tuple[float, float]]] = ()
    """Where both sides ran in turn: for each time that they trained, the seconds of every turn, base and new."""


@dataclass(frozen=True)
class Comparison:
    """All lines, and what base and new are. `accept_changes`: changed facts are told and do not fail the gate.
    `machine`: of both, its fingerprint and facts, where raw times are kept here and not in records."""

    base: str
    new: str
    lines: list[Line]
    notes: list[str] = field(default_factory=list)
    accept_changes: bool = False
    machine: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> list[Line]:
        """Lines that fail the gate: worse, or crashed."""
        return [*self.worse, *(line for line in self.lines if line.verdict == CRASHED)]

    @property
    def worse(self) -> list[Line]:
        """Lines that are a regression."""
        return [line for line in self.lines if line.verdict in BAD - ({"changed"} if self.accept_changes else set())]

    @property
    def undecided(self) -> list[Line]:
        """Lines that could not be decided."""
        return [line for line in self.lines if line.verdict in OPEN]

    @property
    def exit_code(self) -> int:
        """0: nothing worse; 3: a regression; 5: none was found, but trials crashed, and that is no pass; 4:
        inconclusive, or nothing that could be compared."""
        if self.failed:
            return 3 if self.worse else 5
        return 4 if self.undecided or not self.lines else 0

    @property
    def sentence(self) -> str:
        """The finding."""
        if not self.lines:
            return "nothing could be compared"
        if self.failed:
            found = {
                "are worse": len(self.worse),
                "could not be made: a trial crashed": len(self.failed) - len(self.worse),
            }
            told = ", ".join(f"{count} {what}" for what, count in found.items() if count)
            return told.replace(" ", f" of {len(self.lines)} comparisons ", 1)
        if self.undecided:
            return f"{len(self.undecided)} of {len(self.lines)} comparisons are inconclusive, none is worse"
        return f"none of {len(self.lines)} comparisons is worse"


def time_line(
    name: str, timing: Timing, seconds: float = 0.0, raw: Sequence[Sequence[tuple[float, float]]] = ()
) -> Line:
    """Say what a time did."""
    numbers = f"{timing.ratio:.3f} times as long [{timing.low:.3f}, {timing.high:.3f}], {timing.pairs} pairs"
    return Line(name, "time", timing.verdict, numbers, timing, seconds, raw)


def facts_line(name: str, found: list[Fact], left_out: str = "") -> Line:
    """Say which facts changed. `left_out`: why losses and weights were not compared."""
    told = "; ".join(map(str, found)) or ("counts are equal" if left_out else "equal to the last bit")
    rest = f"; losses and weights are not compared: {left_out}" if left_out else ""
    return Line(name, "facts", "changed" if found else "equal", told + rest)


def crash_line(name: str, told: str) -> Line:
    """Say which trials crashed, where and of what."""
    return Line(name, "facts", CRASHED, told)


def score_line(name: str, found: Scores, metric: str) -> Line:
    """Say what a score did."""
    form = METRICS[metric].format
    return Line(name, "score", found.verdict, f"{found.base:{form}} -> {found.new:{form}}{found.doubt}")
