"""What no clock decides: equal settings on an equal machine must give equal counts and, on a CPU, equal numbers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from harness.record import Record

COUNTS = ("status", "data_sha256", "parameters", "flops_per_token", "updates", "examples", "tokens", "padded_tokens")
"""Fields that must not differ on any machine. FLOPs are those of the model, computed from its settings."""
COMPUTED = ("train_loss", "weights_sha256")
"""Of a fixed seed; they must not differ where the same kernels add in the same order, which a CPU alone keeps to."""
SHOWN = {"data_sha256": "data", "weights_sha256": "trained weights", "train_loss": "training loss",
         "flops_per_token": "FLOPs per token"}  # fmt: skip


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
    names = COUNTS if unlike(base, new) else COUNTS + COMPUTED
    pairs = [(name, getattr(base, name), getattr(new, name)) for name in names]
    return [Fact(name, one, other) for name, one, other in pairs if not _equal(name, one, other)]


def unlike(base: Record, new: Record) -> str:
    """Say why two records of one trial need not be equal to the last bit; empty where they must be."""
    if base.packed != new.packed:
        return f"base trained {together(base)}, new {together(new)}"
    devices = sorted({base.device, new.device})
    return "" if devices == ["cpu"] else f"trained on {' and '.join(filter(None, devices)) or 'a device not known'}"


def crashed(pair: tuple[Record, Record]) -> bool:
    """Whether a trial failed on one side or on both: what it would have computed is not known."""
    return any(record.status == "failed" for record in pair)


def crashes(pairs: Iterable[tuple[Record, Record]]) -> str:
    """Say which trials crashed, on which side and of what, each reason once."""
    told: dict[str, list[int]] = defaultdict(list)
    for base, new in filter(crashed, pairs):
        sides = [record for record in (base, new) if record.status == "failed"]
        where = "on both sides" if len(sides) == 2 else "in base alone" if sides == [base] else "in new alone"
        told[f"{where}: {sides[-1].reason or 'no reason is known'}"].append(sides[-1].seed)
    return "; ".join(f"seed {', '.join(map(str, sorted(seeds)))} failed {where}" for where, seeds in told.items())


def together(record: Record) -> str:
    """Say what a trial was trained with."""
    kernel = f" ({record.kernel})" if record.kernel else ""
    return f"{record.packed} trials as one program{kernel}" if record.packed > 1 else f"each trial alone{kernel}"


def _equal(name: str, one: object, other: object) -> bool:
    nan = [isinstance(value, float) and math.isnan(value) for value in (one, other)]
    if name == "flops_per_token" and any(nan):  # not known of a trial that did not end well, nor of an old record
        return True
    return all(nan) or one == other


def _short(value: object) -> str:
    if isinstance(value, float):
        return repr(value)
    return f"{value:,}" if isinstance(value, int) else str(value)[:12]
