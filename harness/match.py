"""Held equal: the hidden size of every variant is solved for one budget, and what is left over is known.

    match: parameters                    # those of the first cell of a grid, at its hidden_size
    match: {by: parameters, to: 70000}   # so many
    match: [parameters, flops, state]    # a ranking under each

Which network is best depends on what is held equal: at equal width an LSTM has four times the weights of an Elman net.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

from harness import cost
from harness.config.grid import Key, Reader
from harness.config.wording import shown
from harness.errors import Fault
from harness.trial import Trial, key_of

BY = ("parameters", "flops", "state", "time", "none")
By = Literal["parameters", "flops", "state", "time", "none"]
Count = Literal["all", "recurrent"]
ALLOWED = f"one of {', '.join(BY)}, or a mapping {{by, to, count}}"
MOST_UNITS = 65_536
OUTSIDE = ("encoder.", "decoder.weight", "head.", "crf.")
"""What `count: recurrent` leaves out of parameters and FLOPs: embeddings and what reads the answer off the state."""
LOOKED_UP = ("encoder.weight", "decoder.weight")
"""Embeddings: a row is taken, nothing is multiplied."""


@dataclass(frozen=True)
class Match:
    """What is held equal. `to`: how much; None: as much as the first variant of a grid has. `count`: of the whole model
    or of its recurrent layers (and what joins them) alone."""

    by: By
    to: float | None = None
    count: Count = "all"

    @property
    def title(self) -> str:
        """In words: `parameters`, `recurrent parameters`, `FLOPs a token`."""
        words = {"parameters": "parameters", "flops": "FLOPs a token", "state": "numbers of state"}
        words |= {"time": "seconds forecast", "none": "nothing"}
        return ("recurrent " if self.count == "recurrent" else "") + words[self.by]


@dataclass(frozen=True)
class Fit:
    """How near a variant comes to the budget: what it has, and what it should have. No number: nothing to match."""

    has: float
    target: float

    @property
    def mismatch(self) -> float:
        """Share of the budget that it is over (above 0) or under; nan where there is nothing to match."""
        return self.has / self.target - 1


@dataclass(frozen=True)
class Matched:
    """One kind of match with the variants that it made: `trial.key_of` its settings -> how it fits."""

    match: Match
    fits: dict[str, Fit]


def read(value: object, reader: Reader, key: Key) -> tuple[Match, ...]:
    """Return the kinds of match as a file states them: a name, {by, to, count}, or a list of such."""
    found = []
    for part, at in reader.each(value, key, quiet=True):
        given = {"by": part} if isinstance(part, str) else reader.mapping(part, at, ALLOWED)
        if not given:
            continue
        unlike = [name for name in given if name not in ("by", "to", "count")]
        for name in unlike:
            reader.unknown("key", name, (*at, name), ("by", "to", "count"))
        by: Any = given.get("by")
        to, count = given.get("to"), cast(Count, given.get("count", "all"))
        if by is None and unlike:  # {parameters: 70000}
            kinds = [name for name in unlike if name in BY]
            remedy = f"match: {{by: {kinds[0]}, to: {shown(given[kinds[0]])}}}" if kinds else ""
            reader.refuse("nothing says what to match", at, ALLOWED, remedy)
        elif by not in BY:
            reader.unknown("match", by, (*at, "by") if isinstance(part, dict) else at, BY)
        elif to is not None and (isinstance(to, bool) or not isinstance(to, int | float) or not 0 < to < 1e15):
            reader.refuse(f"got {shown(to)}", (*at, "to"), "a number above 0")
        elif count not in ("all", "recurrent"):
            reader.unknown("count", count, (*at, "count"), ("all", "recurrent"))
        else:
            found.append(Match(by, to, count))
    return tuple(dict.fromkeys(found))


def solve(variants: Iterable[Trial], match: Match, faults: list[Fault], where: str) -> dict[str, tuple[Trial, Fit]]:
    """Return the variants of one grid with their hidden sizes solved, and how they fit, by `trial.key_of`.

    A variant without what is matched (a feed-forward net has no state) keeps its size. Raises nothing: a budget that is
    less than one unit has, or more than 65,536 units have, is noted.
    """
    solved: dict[str, tuple[Trial, Fit]] = {}
    targets: dict[tuple[str, int], float] = {}
    for trial in variants:
        has = measure(trial, match)
        if match.by == "none":
            fit = Fit(math.nan, math.nan)
        elif not has:
            fit = Fit(math.nan, match.to or math.nan)
        else:
            first = (str(sorted(trial.task.items())), trial.hidden_size)
            target = match.to or targets.setdefault(first, has)
            trial = _sized(trial, match, target)
            fit = Fit(measure(trial, match), target)
            if not 0.5 < fit.has / target < 2:
                what = f"match: {target:,.0f} {match.title}: cell '{trial.cell['name']}' has {fit.has:,.0f} with "
                faults.append(Fault(f"{what}{trial.hidden_size:,} units", where, "a budget that it can come near"))
        solved.setdefault(key_of(trial.model_dump(mode="json")), (trial, fit))
    return solved


def _sized(trial: Trial, match: Match, target: float) -> Trial:
    """Return the trial with the hidden size that comes nearest to the target: what is measured grows with it."""

    def at(units: int) -> float:
        return measure(trial.model_copy(update={"hidden_size": units}), match)

    low, high = 1, 2
    while high < MOST_UNITS and at(high) < target:
        low, high = high, high * 2
    high = min(high, MOST_UNITS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if at(middle) < target else (low, middle)
    nearest = min((low, high), key=lambda units: abs(at(units) - target))
    return trial.model_copy(update={"hidden_size": nearest}).normalised()


def measure(trial: Trial, match: Match) -> float:
    """Return what a trial has of what is matched; 0 where it has none."""
    return _MEASURES[match.by](trial, match.count == "recurrent")


def _parameters(trial: Trial, recurrent: bool) -> float:
    sizes = cost.weight_shapes(trial)
    return sum(math.prod(size) for name, size in sizes.items() if not (recurrent and name.startswith(OUTSIDE)))


def _flops(trial: Trial, recurrent: bool) -> float:
    """Of a token, forward and backward over the whole sequence: 6 a weight that is multiplied, at every BPTT length."""
    left_out = LOOKED_UP + (OUTSIDE if recurrent else ())
    sizes = cost.weight_shapes(trial).items()
    return 6.0 * sum(math.prod(size) for name, size in sizes if len(size) > 1 and not name.startswith(left_out))


def _state(trial: Trial, recurrent: bool) -> float:
    """Numbers that are carried from a step to the next, over layers and directions."""
    return float(len(trial.build_cell().states) * trial.hidden_size * trial.layers * (2 if trial.bidirectional else 1))


def _time(trial: Trial, recurrent: bool) -> float:
    """Forecast of the trial's seconds (harness/cost.py), within a factor of about two between kernels."""
    return cost.estimate(trial).seconds


_MEASURES: dict[By, Callable[[Trial, bool], float]] = {
    "parameters": _parameters,
    "flops": _flops,
    "state": _state,
    "time": _time,
    "none": lambda trial, recurrent: 0.0,
}
