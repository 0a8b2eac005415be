"""Ray's, Lightning's and the workers' own talk goes to a log file, whatever layer of the process it comes from."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console


@contextmanager
def diverted(log: Path, console: Console) -> Iterator[Console]:
    """Send file descriptors 1 and 2 to `log` while inside; yield a console on the terminal that they had."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    is_terminal, width = console.is_terminal, console.width  # asked of descriptor 1, which is about to be the log
    kept = [os.dup(1), os.dup(2)]
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        with os.fdopen(os.dup(kept[0]), "w", encoding="utf-8", errors="replace") as terminal:
            yield Console(file=terminal, width=width, force_terminal=is_terminal, no_color=console.no_color)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in enumerate(kept, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.close(target)
