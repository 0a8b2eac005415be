"""What keeps two sets of records from being compared, by name: the machine and its versions, or the settings."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from harness import machine
from harness.config.grid import PLUGINS
from harness.record import Record

RECORD = (
    "To record one, with the code to compare with and where new was measured: harness run BENCHMARK --results FOLDER"
)
Stored = Mapping[tuple[str, str], Record]
"""Records by fingerprint and id."""


def unlike(one: Stored, other: Stored, shared: Sequence, names: tuple[str, str]) -> list[str]:
    """Say what is not compared, and why."""
    if not shared:
        why = "; ".join(_reasons(one, other, names))
        return [f"no comparable baseline: {why}. {RECORD}"]
    left = len(one.keys() | other.keys()) - len(shared)
    return [f"{left} trials stand in one folder alone and are not compared"] if left else []


def _reasons(one: Stored, other: Stored, names: tuple[str, str]) -> Iterator[str]:
    """Name all that keeps two sets of records apart: the machine and its versions, and settings, each with both
    values."""
    if empty := [name for name, records in zip(names, (one, other), strict=True) if not records]:
        yield f"no trial is stored in {' and '.join(empty)}"
        return
    machines = [sorted({key[0] for key in records}) for records in (one, other)]
    if not set(machines[0]) & set(machines[1]):
        yield f"base was measured on {', '.join(machines[0])}, new on {', '.join(machines[1])}"
        yield from _apart(_machine, one, other)
    if not {key[1] for key in one} & {key[1] for key in other}:
        yield "no trial stands in both"
        yield from _apart(_settings, one, other)


def _apart(facts: Callable[[Record], dict[str, Any]], one: Stored, other: Stored) -> Iterator[str]:
    """Yield each fact of which no value is found on both sides."""
    sides: list[dict[str, set[str]]] = []
    for records in (one, other):
        sides.append(defaultdict(set))
        for name, value in (fact for record in records.values() for fact in facts(record).items()):
            sides[-1][name].add(json.dumps(value))
    for name in sides[0]:
        base, new = (side.get(name, {"null"}) for side in sides)
        if not base & new:
            yield f"{name}: base {_listed(base)}, new {_listed(new)}"


def _listed(values: set[str]) -> str:
    shown = [value.strip('"') for value in sorted(values)]
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")


def _machine(record: Record) -> dict[str, Any]:
    """What of a record's machine can change a number."""
    return machine.decisive(json.loads(record.machine or "{}")) | {"device": record.device}


def _settings(record: Record) -> dict[str, Any]:
    """The settings of a trial, those of its task and cell as well."""
    plain = record.settings()
    inner = {f"{kind}.{name}": value for kind in PLUGINS for name, value in plain[kind].items()}
    return {name: value for name, value in plain.items() if name not in PLUGINS} | inner
