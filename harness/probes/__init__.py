"""Instruments that watch training, one Lightning callback per question. `attach` makes one of each for a trial."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.probes.base import Probe
    from harness.trial import Trial


def attach(trial: Trial) -> list[Probe]:
    """Return a fresh probe of each kind in this folder."""
    from harness.probes.base import Probe

    found: list[Probe] = []
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        found += [
            value(trial)
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, Probe)
            and value.__module__ == module.__name__
            and value is not Probe
        ]
    return found
