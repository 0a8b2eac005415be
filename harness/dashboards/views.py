"""What a dashboard of a benchmark shows: its scores, and the settings in which its trials differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness import redact
from harness.metrics import METRICS, Metric
from harness.record import Record
from harness.report.variants import flat
from harness.report.words import setting_title

MOST_AXES = 8
"""Settings on one plot of parallel coordinates; more are unreadable."""
BESIDE = ("tokens_per_second", "gradient_decay", "gradient_horizon", "clipped_share", "parameters", "seconds")
"""Numbers that stand beside the score, of METRICS."""


@dataclass(frozen=True)
class View:
    """`axes`: (title, key of W&B's config) of the settings that differ. `metrics`: the scores, better end first."""

    benchmark: str
    metrics: list[Metric]
    axes: list[tuple[str, str]]
    trials: int
    machines: int

    @property
    def beside(self) -> list[Metric]:
        """The numbers beside the score."""
        return [METRICS[name] for name in BESIDE]


def of(name: str, records: Sequence[Record]) -> View:
    """Return what to show of these records."""
    used = dict.fromkeys(record.metric for record in records if record.metric in METRICS)
    values: dict[str, dict[str, object]] = {}
    for record in records:
        for key, value in flat(record.settings()).items():
            values.setdefault(key, {})[repr(value)] = value
    differing = [key for key, found in values.items() if len(found) > 1]
    axes = [(setting_title(key), _config_key(key, values[key])) for key in differing[:MOST_AXES]]
    machines = len({record.fingerprint for record in records})
    return View(redact.text(name), [METRICS[metric] for metric in used], axes, len(records), machines)


def _config_key(key: str, values: dict[str, object]) -> str:
    """Return a flat setting's key in W&B's config; where it may be null the one in words, for a null is not drawn."""
    if key in ("cell", "task"):
        return f"{key}.name"
    return f"shown.{key}" if None in values.values() and "." not in key else key
