"""The head of a cluster, watched from the command: where it goes, the command ends by itself and says so.

Ray ends a process that cannot reach its head after 60 seconds by itself, in the middle of whatever it does, with exit
code 1 and without a word: too late to say how far the benchmark is, and wrong, for the same command goes on.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.errors import Stopped
from harness.stop import Stop

LOST = 20.0
"""Seconds without an answer after which the head counts as lost; one that keeps its state in Redis is back sooner."""
SAVED = 5.0
"""Seconds that trials on nodes that are still there then have to find the request to stop and write a checkpoint."""
EVERY = 1.0


@contextmanager
def watched(address: str, stop: Stop | None, farewell: Callable[[str], object]) -> Iterator[None]:
    """Inside, this process ends with exit code 75 where nobody listens at `address` (HOST:PORT) any more.

    Trials on other nodes are asked to stop before: they write a checkpoint and free their claims. `farewell(what)` is
    called last. No exception is raised: the main thread waits inside Ray, which answers no signal without its head.
    """
    over = threading.Event()
    what = f"the head at {address} has not answered for {LOST:g} seconds, so the command ends"

    def watch() -> None:
        seen = time.monotonic()
        while not over.wait(EVERY):
            if _listens(address):
                seen = time.monotonic()
            elif time.monotonic() - seen > LOST:
                _end(what, stop, farewell)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _end(what: str, stop: Stop | None, farewell: Callable[[str], object]) -> None:
    try:
        if stop is not None and stop.ask():
            time.sleep(SAVED)
            stop.withdraw()
        farewell(what)
    finally:
        os._exit(Stopped.exit_code)


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2 * EVERY).close()
    except OSError:
        return False
    return True
