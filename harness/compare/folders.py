"""Two folders of results of the same trials on the same machine, held against each other."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness import machine
from harness.compare import facts, scores, timing
from harness.compare.result import Comparison, Line, facts_line, score_line, time_line
from harness.config.grid import PLUGINS
from harness.metrics import METRICS
from harness.record import Record
from harness.stats import worst
from harness.trial import Trial, key_of

APART = (
    "The two runs were not interleaved: a machine that was busy in one of them alone looks like a change of the code. "
    "Before you act on a time, run: harness compare --against REVISION BENCHMARK"
)

RECORD = (
    "To record one, with the code to compare with and where new was measured: harness run BENCHMARK --results FOLDER"
)
Stored = Mapping[tuple[str, str], Record]
"""Records by fingerprint and id."""


def compare(base: Iterable[Record], new: Iterable[Record], names: tuple[str, str], accept: bool = False) -> Comparison:
    """Return the comparison of two sets of records; only trials that both have, on one machine, are compared."""
    ended = ([r for r in records if r.status != "stopped"] for records in (base, new))  # early, by a search
    one, other = ({(r.fingerprint, r.trial_id): r for r in records} for records in ended)
    shared = sorted(one.keys() & other.keys())
    notes = _unlike(one, other, shared, names)
    variants: dict[str, list[tuple[Record, Record]]] = defaultdict(list)
    for key in shared:
        variants[key_of(one[key].settings())].append((one[key], other[key]))
    lines = [line for pairs in variants.values() for line in _lines(pairs, len(variants))]
    whole = [ratio for pairs in variants.values() for ratio in map(_ratio, pairs) if ratio]
    if len(variants) > 1 and whole:
        lines.append(time_line("all variants", timing.judge(whole, len(variants) + 1)))
    return Comparison(*names, lines, [*notes, *([APART] if lines else [])], accept)


def name_of(records: list[Record]) -> str:
    """Name a variant: its trial's label without the seed, and its size."""
    trial = Trial(**records[0].settings())
    return f"{trial.label.rpartition('-s')[0]}-h{trial.hidden_size}"


def _lines(pairs: list[tuple[Record, Record]], variants: int) -> list[Line]:
    name = name_of([base for base, _ in pairs])
    found = [fact for base, new in pairs for fact in facts.changed(base, new)]
    ratios = [ratio for ratio in map(_ratio, pairs) if ratio]
    seconds = [timing.quick(new.update_seconds, new.warmup_updates) for _, new in pairs]
    lines = [facts_line(name, found), scored(name, [b for b, _ in pairs], [n for _, n in pairs])]
    if ratios:
        lines.append(time_line(name, timing.judge(ratios, variants + 1), min(seconds)))
    return lines


def scored(name: str, base: list[Record], new: list[Record]) -> Line:
    """Hold the scores of a variant's seeds against those of the reference."""
    higher, form = base[0].higher_is_better, METRICS[base[0].metric].format
    bad = worst(higher)
    before, after = ([r.score if r.status == "ok" else bad for r in records] for records in (base, new))
    return score_line(name, scores.judge(before, after, higher), form)


def _ratio(pair: tuple[Record, Record]) -> float | None:
    """Time of an update, new over base; None where one has none."""
    base, new = (timing.quick(r.update_seconds, r.warmup_updates) for r in pair)
    return new / base if base > 0 and new > 0 else None


def _unlike(one: Stored, other: Stored, shared: Sequence, names: tuple[str, str]) -> list[str]:
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
