"""Lightning without what it imports for nothing: torchmetrics takes scipy.signal and matplotlib wherever they are
installed, for metrics of sound and for plots. No trial has either, and they are a fifth of what a worker's start takes
(0.95 of 4.8 s of CPU)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

SPARED = ("scipy", "matplotlib")


@contextmanager
def lean() -> Iterator[None]:
    """Inside, torchmetrics finds none of them when it is imported; whoever else imports them does."""
    if "torchmetrics" in sys.modules:
        yield
        return
    from lightning_utilities.core import imports

    there = imports.package_available

    class Cache(imports.RequirementCache):
        def __bool__(self) -> bool:
            return self.requirement not in SPARED and super().__bool__()

    with mock.patch.multiple(imports, RequirementCache=Cache, package_available=lambda n: n not in SPARED and there(n)):
        import torchmetrics  # noqa: F401
    yield
