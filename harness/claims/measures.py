"""What a claim picks and measures: settings of a variant, the value of a measure in a record, and both in words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from harness.metrics import METRICS, Metric
from harness.record import Record
from harness.stats import median, worst

Selector = Mapping[str, Any]
"""Settings of a variant: {"cell": "lstm", "task.length": 60, "clip_norm": None}."""
_ABSENT = object()


def setting(trial: Mapping[str, Any], key: str) -> Any:
    """Return a setting of a trial's plain data: "cell" and "task" by name, "task.length" inside."""
    part, _, inside = key.partition(".")
    value = trial.get(part, _ABSENT)
    return value.get(inside or "name", _ABSENT) if isinstance(value, dict) else _ABSENT if inside else value


def matches(trial: Mapping[str, Any], selector: Selector) -> bool:
    """Tell whether a trial's plain data has all settings of a selector; true is not 1, and absent is not null."""
    pairs = [(setting(trial, key), value) for key, value in selector.items()]
    return all(own == value and isinstance(own, bool) == isinstance(value, bool) for own, value in pairs)


def is_number(value: object) -> bool:
    """Tell whether a setting's value has a place on a line."""
    return isinstance(value, int | float) and not isinstance(value, bool)


DERIVED = {
    "score": Metric("score", "score", "", "", ".4g", "on the test split, by the task's own metric"),
    "diverged": Metric("diverged", "share of diverged trials", "", "lower", ".0%", "over the seeds"),
    "seconds_per_update": Metric(
        "seconds_per_update", "seconds per update", "s", "lower", ".3g", "median after the warm-up", True
    ),
}
"""Measures that are not a field of a record as it stands."""
MEASURES = DERIVED | {name: metric for name, metric in METRICS.items() if name in Record.__dataclass_fields__}
"""What a check may name."""
COUNTED = ("parameters", "activation_bytes")
"""Measures that the settings decide: where all seeds agree to the last digit, one is as good as many."""


class Value(NamedTuple):
    """What a record says of a measure; `high` is above `low` where only a bound from below is known."""

    low: float
    high: float


def measured(record: Record, measure: str) -> Value:
    """Return the value of a measure; nan, nan where the record has none."""
    if measure == "score":
        lost = record.status != "ok" or math.isnan(record.score)
        value = worst(record.higher_is_better) if lost else record.score
    elif record.status == "failed" or (MEASURES[measure].timed and record.status != "ok"):
        value = math.nan  # what it holds was cut short, or is a default
    elif measure == "diverged":
        value = float(record.status == "diverged")
    elif measure == "seconds_per_update":
        value = median(record.update_seconds[record.warmup_updates :])
    elif measure == "gradient_horizon" and record.gradient_horizon == math.inf:
        return Value(float(max(record.gradient_lags, default=0)), math.inf)  # not reached within what was measured
    else:
        value = float(getattr(record, measure))
    if measure in COUNTED and not value:
        value = math.nan  # never counted
    return Value(value, value)


def metric_of(measure: str, records: Iterable[Record]) -> tuple[Metric, bool]:
    """Return how a measure is called and written, and whether more of it is better; a score as its task says."""
    known = next((r for r in records if r.metric), None)
    if measure != "score" or known is None:
        return MEASURES[measure], MEASURES[measure].better == "higher"
    plain = dataclasses.replace(DERIVED["score"], title=known.metric)
    return METRICS.get(known.metric, plain), known.higher_is_better


def center(values: Sequence[Value], measure: str) -> Value:
    """Return the median over seeds, of both bounds; the mean of what is 0 or 1."""
    if measure == "diverged":
        known = [v.low for v in values if not math.isnan(v.low)]
        return Value(*[sum(known) / len(known) if known else math.nan] * 2)
    return Value(median(v.low for v in values), median(v.high for v in values))


def written(metric: Metric, value: Value) -> str:
    """Write a number with its unit; a bound as one, rounded down."""
    if math.isnan(value.low) or math.isinf(value.low):
        return "not known" if math.isnan(value.low) else "lost"
    bound = value.high > value.low
    low = math.floor(value.low) if bound else value.low
    if metric.unit == "B":
        size, unit = next((s for s in ((2**20, "MiB"), (2**10, "KiB")) if low >= s[0]), (1, "B"))
        return f"{low / size:.3g} {unit}"
    text = format(low, metric.format)
    if low and float(text.rstrip("%").replace(",", "")) == 0:
        text = format(low, ".2g")  # never 0 for what is not
    return " ".join(filter(None, ["≥" * bound, text.replace("%", " %"), metric.unit]))


def title(key: str) -> str:
    """Return a setting's name in words: `length` for "task.length"."""
    return key.rpartition(".")[2].replace("_", " ")


def named(selector: Selector) -> str:
    """Name a variant by its settings: `lstm`, `length 64, clip norm none`."""
    words = {None: "none", True: "yes", False: "no"}
    plain = [
        (k, words[v] if v is None or isinstance(v, bool) else f"{v:,g}" if isinstance(v, float) else str(v))
        for k, v in selector.items()
    ]
    return ", ".join(v if k in ("cell", "task") else f"{title(k)} {v}" for k, v in plain) or "all trials"
