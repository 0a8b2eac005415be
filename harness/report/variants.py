"""Records to variants: all settings equal but the seed. Says which settings differ, are held, or cannot matter."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from harness.errors import UserError
from harness.record import Record
from harness.report.words import NONE, NULL, clean, phrase, setting_title, setting_value
from harness.trial import CLIPPING, Trial, key_of

_TRIED: dict[str, tuple[Any, Any]] = {
    "bptt_length": (None, 1),
    "bptt_stride": (None, 1),
    "bidirectional": (False, True),
    "attention": ("none", "dot"),
    "pointer": (False, True),
    "beam_width": (1, 2),
    "dropout": (0.0, 0.5),
    "kernel": ("fused", "loop"),
}
"""Two values of each setting that can be without effect: where both normalise to one trial, it cannot matter."""
INDIFFERENT = frozenset(
    {*CLIPPING, "learning_rate", "optimizer", "schedule", "weight_decay", "examples", "tokens", "hidden_size", "seed"}
)
"""Settings that decide nothing about whether another can matter: a grid over them is asked about once."""
_FIRST = ("bptt_length", "bptt_stride", "clip_norm")  # the project's question comes before other settings
_ORDER = {name: i for i, name in enumerate([*_FIRST, *(f for f in Trial.model_fields if f not in _FIRST)])}


@dataclass(frozen=True)
class Variant:
    """One point of a sweep without its seed.

    settings: flat, without seed: "hidden_size", "cell" (its name), "cell.activation", "task", "task.length", ...
    unused: those of them that cannot matter to this variant. records: in the order of their seeds. expected: trials
    that the benchmark asks for, 0 where unknown.
    """

    key: str
    settings: dict[str, Any]
    unused: frozenset[str]
    records: tuple[Record, ...]
    expected: int

    @cached_property
    def cell(self) -> str:
        """Name of the cell."""
        return clean(self.settings.get("cell", ""))

    def shown(self, setting: str) -> str:
        """Return a setting's value for a reader; a dash where it cannot matter or does not exist."""
        if setting in self.unused or setting not in self.settings:
            return NONE
        return setting_value(setting, self.settings[setting])

    def telling(self, setting: str) -> bool:
        """True where a setting is worth naming: it matters, and is set, or its null means something of its own."""
        return self.shown(setting) != NONE and (self.settings[setting] is not None or setting in NULL)

    def label(self, differing: Sequence[str]) -> str:
        """Return a short name: `lstm · BPTT 16 · clip none`."""
        told = [phrase(key, self.settings[key]) for key in differing if self.telling(key)]
        return " · ".join([self.cell, *told])


def flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings without seed, with `task` and `cell` spread: {"cell": "elman", "cell.activation": "tanh"}."""
    out: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            out[key] = value.get("name", "")
            out |= {f"{key}.{inner}": v for inner, v in value.items() if inner != "name"}
        elif key != "seed":
            out[key] = value
    return out


def variants(records: Iterable[Record], expected: Sequence[Trial]) -> list[Variant]:
    """Group records into variants, in the order of `expected`, then of appearance; those without record are absent."""
    asked = _asked(expected)
    grouped: dict[str, list[Record]] = {key: [] for key in asked}
    keys: dict[str, str] = {}
    for record in records:
        grouped.setdefault(_key(record, keys), []).append(record)
    return [_variant(key, found, asked.get(key, 0)) for key, found in grouped.items() if found]


def _asked(expected: Sequence[Trial]) -> dict[str, int]:
    """Return how many trials of each variant are asked for. Those that are one but for the seed hold the very same
    settings (`Trial.seeded`), whose text is found once."""
    asked: dict[str, int] = defaultdict(int)
    known: dict[tuple[int, ...], str] = {}
    for trial in expected:
        same = tuple(id(value) for name, value in vars(trial).items() if name != "seed")
        if same not in known:
            known[same] = key_of(trial.model_dump(mode="json"))
        asked[known[same]] += 1
    return asked


def _key(record: Record, known: dict[str, str]) -> str:
    """Return `key_of` a record's settings, which is found once for texts that differ in nothing but the seed."""
    own = f'"seed":{record.seed},'
    if record.trial.count('"seed":') != 1 or own not in record.trial:
        return key_of(record.settings())
    rest = record.trial.replace(own, "")
    if rest not in known:
        known[rest] = key_of(record.settings())
    return known[rest]


def _variant(key: str, records: list[Record], expected: int) -> Variant:
    settings = records[0].settings()
    ordered = tuple(sorted(records, key=lambda r: r.seed))
    return Variant(key, flat(settings), unused(settings, ordered), ordered, expected)


def unused(settings: dict[str, Any], records: Iterable[Record]) -> frozenset[str]:
    """Return the settings that cannot matter, as `Trial.normalised` knows them.

    Where the cell or task is not installed here, the records tell: one that ended well without any lag of the gradient
    through time belongs to a cell that carries nothing.
    """
    asked = {key: value for key, value in settings.items() if key not in INDIFFERENT}
    try:
        return _unused(json.dumps(asked, sort_keys=True))
    except (UserError, ValueError):
        memoryless = any(r.status == "ok" and not r.gradient_lags and r.verdict == "n/a" for r in records)
        return frozenset({"bptt_length", "bptt_stride", "bidirectional"} if memoryless else ())


@lru_cache(maxsize=4096)
def _unused(settings: str) -> frozenset[str]:
    """The same of settings as JSON, without those that are indifferent to it."""
    trial = Trial(**{"examples": 1} | json.loads(settings))
    pairs = {key: [trial.model_copy(update={key: v}).normalised() for v in two] for key, two in _TRIED.items()}
    return frozenset(key for key, (one, other) in pairs.items() if one == other)


def differing(among: Sequence[Variant]) -> list[str]:
    """Return the settings, besides task and cell, in which variants differ, cell's own settings first."""
    kinds = _kinds(among)
    return [key for key in _keys(among) if _differs(key, kinds)]


def held(among: Sequence[Variant]) -> dict[str, str]:
    """Return {title: value} of the settings that are equal for all variants to which they matter."""
    kinds, out = _kinds(among), {}
    for key in _keys(among):
        first = next((v for v in among if key in v.settings and key not in v.unused), None)
        if first is None or _differs(key, kinds) or not first.telling(key):
            continue
        having = (v.cell for v in among if key in v.settings and key not in v.unused)
        owners = "/".join(dict.fromkeys(having)) if key.startswith("cell.") else ""
        out[f"{owners} {setting_title(key)}".strip()] = first.shown(key)
    return out


def _keys(among: Sequence[Variant]) -> list[str]:
    written = dict.fromkeys(tuple(v.settings) for v in among)
    found = dict.fromkeys(key for keys in written for key in keys if key not in ("task", "cell"))
    own = [key for key in found if key.startswith("cell.")]
    rest = [key for key in found if not key.startswith(("cell.", "task."))]
    return [*own, *sorted(rest, key=lambda key: _ORDER.get(key, len(_ORDER)))]


Kinds = dict[tuple[str, frozenset[str]], list[dict[str, Any]]]
"""Cell, and the settings that cannot matter to it -> the settings of each such variant."""


def _kinds(among: Sequence[Variant]) -> Kinds:
    found: Kinds = defaultdict(list)
    for variant in among:
        found[variant.cell, variant.unused].append(variant.settings)
    return found


def _differs(key: str, kinds: Kinds) -> bool:
    """True where variants differ in a setting that matters to them, or one of a cell has it and another lacks it."""
    values: set[Any] = set()
    present: dict[str, set[bool]] = defaultdict(set)
    for (cell, unused), settings in kinds.items():
        if key not in unused:
            having = [own[key] for own in settings if key in own]
            present[cell] |= {has for has, n in ((True, len(having)), (False, len(settings) - len(having))) if n}
            values |= _told_apart(having)
    return len(values) > 1 or any(len(found) > 1 for found in present.values())


def _told_apart(values: Iterable[Any]) -> set[Any]:
    """Different values of a setting as something to compare: true is not 1, and 1 not 1.0."""
    by_type: dict[type, list[Any]] = defaultdict(list)
    for value in values:
        by_type[type(value)].append(value)
    found: set[Any] = set()
    for kind, own in by_type.items():
        nested = issubclass(kind, list | dict)
        found |= {json.dumps(each, sort_keys=True) for each in own} if nested else {(kind, each) for each in set(own)}
    return found


def task_names(among: Sequence[Variant]) -> list[str]:
    """Return `adding`, or `adding, length 200` where tasks of that name differ in their settings, of each variant."""
    by_task: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for variant in among:
        by_task[variant.settings.get("task")].append(variant.settings)
    keys = {key for written in {tuple(v.settings) for v in among} for key in written if key.startswith("task.")}
    found = {
        task: {key: _told_apart(own.get(key) for own in settings) for key in keys} for task, settings in by_task.items()
    }
    return [_task_name(variant, found[variant.settings.get("task")]) for variant in among]


def _task_name(variant: Variant, values: dict[str, set[Any]]) -> str:
    own = variant.settings
    told = [phrase(key, own[key]) for key in own if key.startswith("task.") and len(values[key]) > 1]
    return ", ".join([clean(own.get("task", "")), *told])
