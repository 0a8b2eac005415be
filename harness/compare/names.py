"""Names of what is compared: short, and each its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.report.variants import flat
from harness.report.words import phrase
from harness.trial import Trial


def variant_name(settings: Mapping[str, Any]) -> str:
    """Name a variant: its trial's label without the seed, and its size."""
    trial = Trial(**settings)
    return f"{trial.label.rpartition('-s')[0]}-h{trial.hidden_size}"


def told_apart(names: Iterable[str], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names, each that is another's too with the settings behind it that set it apart:
    `gru-digits-bfull-c1-h8 · learning rate 0.01`."""
    names, plain, alike = [*names], [flat({**each}) for each in settings], defaultdict(list)
    for name, own in zip(names, plain, strict=True):
        alike[name].append(own)
    found = []
    for name, own in zip(names, plain, strict=True):
        keys = [key for key in own if any(other.get(key) != own[key] for other in alike[name])]
        found.append(" · ".join([name, *(phrase(key, own[key]) for key in keys)]))
    return found
