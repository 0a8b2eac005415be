"""Imports of what comes next, beside what mostly waits: Ray, while its processes start and end."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TUNE, REPORT = ("pandas",), ("matplotlib.figure", "matplotlib.backends.backend_svg", "scipy.special", "jinja2")
"""What Ray Tune and a report take most of their time to import. Nothing of Ray: two threads that import parts of a
package whose modules import each other in a circle may find them half made."""


@contextmanager
def ahead(names: tuple[str, ...]) -> Iterator[None]:
    """Import modules while inside; what is not there is missed by who needs it."""
    thread = threading.Thread(target=_load, args=(names,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _load(names: tuple[str, ...]) -> None:
    for name in names:
        with suppress(ImportError):
            importlib.import_module(name)
