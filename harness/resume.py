"""A run that is stopped says how far it is, and that the same command goes on."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from harness.errors import Stopped, UserError

if TYPE_CHECKING:
    from harness.spec import Benchmark

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ENDED = "the output was closed, or the process told to end"


@contextmanager
def resumable(benchmark: Benchmark, results: Path) -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and a full disk into Stopped, with how far the benchmark is."""
    from harness import machine
    from harness.store import Store

    def interrupt(signum: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    why = ""
    try:
        yield
    except KeyboardInterrupt:
        why = "stopped"
    except (SystemExit, BrokenPipeError):
        why = ENDED
    except (OSError, UserError) as error:
        cause = error.__cause__ if isinstance(error, UserError) else error
        if not isinstance(cause, OSError) or cause.errno not in FULL:
            raise
        why = f"the disk is full: {cause}; free some space"
    finally:
        signal.signal(signal.SIGTERM, before)
    if why:
        stored = Store(results, benchmark.name, machine.fingerprint()).ids()
        done = sum(trial.id in stored for trial in benchmark.trials)
        if why == ENDED and done == len(benchmark.trials):
            raise BrokenPipeError
        raise Stopped(f"{why}; {done} of {len(benchmark.trials)} trials are stored; type the same command to go on")
