"""Trials trained as a pack and each by itself, and whether that comes to the same."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from harness.engine import run_trial
from harness.pack.captured import Graphs
from harness.pack.run import run_pack
from harness.record import Record
from harness.training.keeper import Keeper
from harness.training.workers import Workers
from harness.trial import Trial

OWN = {"kernel", "weights_sha256"}
"""What a pack may say differently: what ran, and bits."""
BASE: dict[str, Any] = {"hidden_size": 8, "batch_size": 16, "evaluations": 3, "probe_every": 7}
DIGITS: dict[str, Any] = {"task": {"name": "digits", "steps": 8}, "examples": 16 * 24}
ADDING: dict[str, Any] = {
    "task": {"name": "adding", "length": 12, "train_examples": 100, "valid_examples": 30, "test_examples": 30},
    "examples": 16 * 24,
}
STREAM: dict[str, Any] = {
    "task": {"name": "autocomplete", "characters": 8_000}, "tokens": 16 * 16 * 24, "bptt_length": 16,
}  # fmt: skip


def trials(*each: dict[str, Any], **same: Any) -> list[Trial]:
    """Trials that share settings; their seeds count up."""
    return [Trial(**BASE | same | {"seed": seed} | own).normalised() for seed, own in enumerate(each)]


def packed(
    members: Sequence[Trial], keepers: Sequence[Keeper] = (), device: str = "cpu", graphs: Graphs | None = None
) -> list[Record]:
    """Their records, trained side by side."""
    found: dict[str, Record] = {}
    given = keepers or [Keeper() for _ in members]
    run_pack(members, "", given, lambda trial, record, trained: found.update({trial.id: record}), device, graphs)
    return [found[trial.id] for trial in members]


def differences(one: Record, other: Record, relative: float, besides: Collection[str] = ()) -> list[str]:
    """Fields that differ by more than rounding, times aside."""
    a, b = one.without_times(), other.without_times()
    names = a.keys() - OWN - {*besides}
    return [f"{name}: {a[name]} and {b[name]}" for name in sorted(names) if not _close(a[name], b[name], relative)]


def same_as_alone(
    members: Sequence[Trial],
    relative: float,
    besides: Collection[str] = (),
    device: str = "cpu",
    graphs: Graphs | None = None,
) -> list[Record]:
    """Assert that each trial comes to the same in a pack as by itself; return its records in the pack."""
    records = packed(members, device=device, graphs=graphs)
    for trial, record in zip(members, records, strict=True):
        alone = run_trial(trial, workers=Workers(device=device))
        assert not alone.traceback, alone.traceback
        found = differences(record, alone, relative, besides)
        assert not found, (trial.label, found)
    return records


def _close(a: Any, b: Any, relative: float) -> bool:
    if isinstance(a, list):
        return len(a) == len(b) and all(_close(x, y, relative) for x, y in zip(a, b, strict=True))
    if not isinstance(a, float) or a == b:
        return a == b
    return (math.isnan(a) and math.isnan(b)) or abs(a - b) <= relative * max(abs(a), abs(b))
