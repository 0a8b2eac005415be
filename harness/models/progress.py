"""What an update of training did, and how far training is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from harness.models.base import Profile
from harness.models.clipping import Clipped


@dataclass(frozen=True)
class Failure:
    """The first non-finite or exploded value: at which update, in which layer, at which time step, and why."""

    update: int
    layer: str
    step: int | None
    reason: str


class Update(NamedTuple):
    """What one update did. `gradient`: by lag, where the update was watched."""

    loss: float
    clipped: Clipped
    skipped: bool  # left out: the gradient overflowed under a scaled loss (float16), which is lowered
    tokens: int
    padded_tokens: int
    examples: int
    gradient: Profile | None


@dataclass(slots=True)
class Progress:
    """What changes with every update. Not attributes of the module: torch searches each one that is set for weights,
    which over an update of a small network is a hundredth of it."""

    updates: int = 0
    watch: bool = False  # set by a probe: measure the gradient through time in this update
    beside: int = 1  # trials whose updates are made in turn or together, of which this is one (harness/pack/)
    last: Update | None = None
    failure: Failure | None = None
