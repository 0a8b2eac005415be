"""Published numbers, as data: `<task>.yaml` states value, size, protocol, citation and how each was verified.

`published` lists groups of numbers. What a group states holds for each entry of its `numbers`, which may state more.
`unpublished` says of a data set why there is none ("all": of a task without the setting `data`). What is published is
held against records in `harness/report/published.py`, by what stands here and in the record alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

HERE = Path(__file__).parent
Difference = Literal["model", "data", "training data", "split", "metric", "protocol"]
"""In what two numbers can differ so that they are not comparable; size and doubt are looked at besides."""
Verified = Literal["seen", "stored notes", "recalled"]
"""seen: read in the primary source. stored notes: in a table or notes that quote it. recalled: not checked."""


class Reference(BaseModel):
    """One published number. Settings are named as in a flat Trial: `cell`, `bidirectional`, `task.data`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str
    """In words: kind, layers and units."""
    metric: str
    """By name in METRICS, and in its unit."""
    value: float
    spread: tuple[float, float] | None = None
    """Least and largest value over published repetitions, if there are some."""
    parameters: int | None = Field(None, ge=1)
    """Trainable weights as published, or by the formula of the published widths; null: not known."""
    about: dict[str, list[Any]] = {}
    """Setting of the task -> values for which this number is worth a look."""
    like: dict[str, Any] = {}
    """Settings that make our model of the kind that was published."""
    needs: dict[Difference, dict[str, Any]] = {}
    """Settings that make ours the same question, by what would differ without them."""
    differs: dict[Difference, str] = {}
    """What differs whatever the settings."""
    protocol: str = ""
    cite: str = Field(min_length=10)
    verified: Verified

    @model_validator(mode="after")
    def _value_in_spread(self) -> Reference:
        if self.spread is not None and not self.spread[0] <= self.value <= self.spread[1]:
            raise ValueError(f"value {self.value:g} lies outside of its spread {self.spread}")
        return self

    def concerns(self, task: Mapping[str, Any]) -> bool:
        """Whether this number is worth a look beside a task of these settings."""
        return all(task.get(name) in values for name, values in self.about.items())


class Ledger(BaseModel):
    """All that is known of one task."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    published: tuple[Reference, ...] = ()
    unpublished: dict[str, str] = {}

    def of(self, task: Mapping[str, Any]) -> tuple[Reference, ...]:
        """Return what is published beside a task of these settings."""
        return tuple(reference for reference in self.published if reference.concerns(task))

    def why_none(self, task: Mapping[str, Any]) -> str:
        """Say why nothing is published on the data of a task; "" where something is, or nobody knows."""
        return self.unpublished.get(str(task.get("data", "all")), "")


def names() -> list[str]:
    """Tasks with a file, in order."""
    return sorted(path.stem.replace("_", "-") for path in HERE.glob("*.yaml"))


@cache
def ledger(task: str) -> Ledger:
    """Return what is known of a task by its name; an empty ledger where it has no file."""
    if task not in names():
        return Ledger()
    plain = yaml.safe_load((HERE / f"{task.replace('-', '_')}.yaml").read_text(encoding="utf-8"))
    groups = plain.pop("published", [])
    numbers = [{**_shared(group), **number} for group in groups for number in group["numbers"]]
    return Ledger(published=numbers, **plain)


def _shared(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "numbers"}


def reaches(reference: Reference, best: float, higher_is_better: bool) -> bool:
    """Whether a value is as good as the published one, or as the worst of its published spread."""
    assert not math.isnan(best), "a comparison needs a number"
    low, high = reference.spread or (reference.value, reference.value)
    return best >= low if higher_is_better else best <= high
