"""What no clock decides: equal settings on an equal machine must give equal counts and, on a CPU, equal numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.record import Record

EXACT = (
    "status", "data_sha256", "parameters", "updates", "examples", "tokens", "padded_tokens", "train_loss",
    "weights_sha256",
)  # fmt: skip
"""Fields that must not differ; the loss and the hash of the weights are those of a fixed seed."""
SHOWN = {"data_sha256": "data", "weights_sha256": "trained weights", "train_loss": "training loss"}


@dataclass(frozen=True)
class Fact:
    """A field that differs between two records of one trial."""

    name: str
    base: object
    new: object

    def __str__(self) -> str:
        return f"{SHOWN.get(self.name, self.name.replace('_', ' '))}: {_short(self.base)} -> {_short(self.new)}"


def changed(base: Record, new: Record) -> list[Fact]:
    """Return the facts in which two records of one trial differ."""
    pairs = [(name, getattr(base, name), getattr(new, name)) for name in EXACT]
    return [Fact(name, one, other) for name, one, other in pairs if not _equal(one, other)]


def _equal(one: object, other: object) -> bool:
    both_nan = isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    return both_nan or one == other


def _short(value: object) -> str:
    if isinstance(value, float):
        return repr(value)
    return f"{value:,}" if isinstance(value, int) else str(value)[:12]
