"""How the points of a benchmark are chosen: all points of its grids, or tries in a space, by one of several searches.

    search: grid                    # unless told otherwise: every point of `sweep`
    search:
      kind: random                  # random | optuna | asha | population
      tries: 16                     # for each variant of `sweep` and each of its `seeds`: equal tuning effort
      space:
        learning_rate: {from: 0.0003, to: 0.03, scale: log}
        hidden_size: {from: 16, to: 128}
        clip_norm: [0.3, 1.0, null]
      seed: 0                       # of the search itself
      at_once: 4                    # optuna: tries decided together, before any of them has a result; 1 by default
      grace: 2                      # asha: evaluations before a try may be stopped; 1 by default
      reduction: 3                  # asha: of so many tries one goes on at each rung; 4 by default
      every: 2                      # population: evaluations between two exchanges; 1 by default

random      points drawn before anything runs
optuna      each point after the results of those before it, by a tree of Parzen estimators (Bergstra et al., 2011)
asha        tries that are behind at a rung are stopped early (Li et al., arXiv:1810.05934); without a space: the grid's
population  settings change while training: who is behind goes on from the weights of who is ahead, with its settings
            changed a little (Jaderberg et al., arXiv:1711.09846)

Whatever a search looks at is the score on the validation split.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from harness.metrics import METRICS
from harness.record import Record
from harness.trial import Trial

Kind = Literal["random", "optuna", "asha", "population"]
KINDS = ("grid", "random", "optuna", "asha", "population")
FIGURES = 4
"""Significant figures of a drawn number: nobody can tell two learning rates apart by the fifth."""


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    def at(self, share: float) -> Any:
        """Return the value at a share, from 0 to below 1, of the way."""
        return self.values[int(share * len(self.values))]


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both included; even in their logarithms if `log`; whole ones if `whole`."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, share: float) -> float:
        """Return the number at a share, from 0 to below 1, of the way."""
        widened = 0.5 if self.whole else 0.0  # each whole number has an equal part of the way
        low, high = self.low - widened, self.high + widened
        if self.log:
            return self.near(math.exp(math.log(low) + share * (math.log(high) - math.log(low))))
        return self.near(low + share * (high - low))

    def near(self, value: float) -> float:
        """Return the nearest number that belongs to the range and is written with few digits."""
        rounded: float = round(value) if self.whole else float(f"{value:.{FIGURES}g}")
        return min(max(rounded, self.low), self.high)


@dataclass(frozen=True)
class Search:
    """What a file says of its search. `tries`: None where the grid has them."""

    kind: Kind
    tries: int | None
    space: Mapping[str, Choice | Range]
    seed: int = 0
    at_once: int = 1
    grace: int = 1
    reduction: int = 4
    every: int = 1

    @property
    def foreseen(self) -> bool:
        """Whether every try is known before anything runs."""
        return self.kind in ("random", "asha")

    @property
    def digest(self) -> str:
        """8 hex digits by which its records are known. More tries go on where fewer ended, except in a population."""
        plain = asdict(self) | {"space": {name: asdict(part) for name, part in sorted(self.space.items())}}
        if self.kind != "population":
            del plain["tries"]
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Study:
    """One search: of one variant with one seed. `base`: the variant as it is written, with what is searched in the
    middle of the space. `tries`: as far as they are known before anything runs; of a population its beginnings."""

    search: Search
    base: Trial
    tries: tuple[Trial, ...] = ()

    @property
    def begins(self) -> tuple[Trial, ...]:
        """What stands for it where trials are listed: its tries, or the variant whose tries nobody knows yet."""
        return self.tries or (self.base.normalised(),)

    @property
    def budget(self) -> int:
        """How many tries it may make."""
        return self.search.tries or len(self.tries)

    @property
    def higher_is_better(self) -> bool:
        """Of the score that the search looks at."""
        return METRICS[self.base.build_task().metric].better == "higher"

    @property
    def worst(self) -> float:
        """What a try is worth that has no score: less than any other, and finite, for engines reckon with it."""
        return -1e300 if self.higher_is_better else 1e300

    def worth(self, record: Record) -> float:
        """Return what a search goes by: the score of a trial on the validation split."""
        fine = record.status == "ok" and math.isfinite(record.valid_score)
        return record.valid_score if fine else self.worst

    def note(self, index: int) -> str:
        """Return what the record of a try says of its search, as JSON."""
        search = self.search
        said = {"kind": search.kind, "search": search.digest, "study": self.base.id, "try": index}
        return json.dumps(said | {"tries": self.budget, "seed": search.seed})


def note(record: Record) -> dict[str, Any]:
    """Return what a record says of its search; nothing where there was none."""
    if not record.search:
        return {}
    try:
        said = json.loads(record.search)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def early(trial_id: str, digest: str) -> str:
    """Return the id of the record of a trial that a search stopped early: not the trial's own, for that is not done,
    and whoever asks for all of it must not find this."""
    return f"{trial_id}.{digest}"


def member_id(trial: Trial, note: str, digest: str) -> str:
    """Return the id of the record of a member of a population: what it came to belongs to that population."""
    return f"{early(trial.id, digest)}-{json.loads(note)['try']}"


def whole_id(record: Record) -> str:
    """Return the id of the trial that a record is of, stopped early or not."""
    return record.trial_id.partition(".")[0]


def turn(record: Record) -> tuple[int, int, str]:
    """Return what sorts the tries of searches: by seed, then by number."""
    return record.seed, int(note(record).get("try", 0)), record.trial_id
