"""Claims where there are no locks: an object that its holder writes anew, and that lapses when nobody does.

Object stores have no locks, and pyarrow's filesystems no conditional writes. But what is written there is seen by every
later listing, and that is enough. Who wants a claim writes an object of its own beside the others, `<claim>.<token>`,
then lists them; it holds the claim when no other is there. Of two that write and then list, the later one sees the
other, so never two hold it. Who sees another one takes its own away and watches, but for the first by name, which
stays: one of them gets on.

A holder writes its object anew every few seconds. Who waits takes an object that has not changed for LEASE seconds of
its own clock for that of a dead process, and removes it. No clocks are compared. A holder that was frozen or cut off
for so long goes on beside the next one when it is back: the same trial twice is the same record, which one whole object
holds in the end, so that costs work and no result.
"""

from __future__ import annotations

import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from harness.storage.objects import ObjectPath

LEASE, BEAT = 20.0, 4.0
"""Seconds after which a claim that is not renewed is free, and between two renewals."""
POLL = 1.0


class Lease:
    """A claim that this process holds, and renews until it is released."""

    def __init__(self, mine: ObjectPath) -> None:
        self.mine = mine
        self._over, self._lock = threading.Event(), threading.Lock()
        threading.Thread(target=self._renew, daemon=True).start()

    def release(self) -> None:
        """Give it up."""
        with self._lock:
            self._over.set()
            with suppress(OSError):
                self.mine.unlink()

    def _renew(self) -> None:
        while not self._over.wait(BEAT):
            with self._lock, suppress(OSError):  # a store that does not answer now may do so in time
                if not self._over.is_set():
                    write(self.mine)


def acquire(claim: ObjectPath, timeout: float | None, on_wait: Callable[[str], object] | None) -> Lease:
    """Wait for the claim and take it; as `files.acquire` for locks. Raises TimeoutError with the holder."""
    mine, written = claim.with_name(f"{claim.name}.{secrets.token_hex(8)}"), 0.0
    watched: dict[str, tuple[tuple[int, int], float]] = {}
    started = time.monotonic()
    try:
        while True:
            there = {one.name: one.stamp for one in claim.parent.listed() if one.name.startswith(f"{claim.name}.")}
            others = sorted(name for name in there if name != mine.name and not _dead(claim, name, there, watched))
            if others:
                if written and others[0] < mine.name:
                    _remove(mine)
                    written = 0.0
                _wait(claim.with_name(others[0]), started, timeout, on_wait)
            elif mine.name in there:
                written = 0.0
                return Lease(mine)
            if (mine.name not in there and not others) or (written and time.monotonic() - written > BEAT):
                written = write(mine)
    finally:
        if written:
            _remove(mine)


def write(mine: ObjectPath) -> float:
    """Say who holds or wants a claim, and return when that was begun."""
    now = time.monotonic()
    mine.write_bytes(f"process {os.getpid()} on {socket.gethostname()}".encode())
    return now


def _dead(
    claim: ObjectPath, name: str, there: dict[str, tuple[int, int]], watched: dict[str, tuple[tuple[int, int], float]]
) -> bool:
    """Whether an object has not changed for as long as this process has watched it, and that is long; then it goes."""
    now = time.monotonic()
    stamp, since = watched.setdefault(name, (there[name], now))
    if stamp != there[name]:
        watched[name] = (there[name], now)
    elif now - since > LEASE:
        _remove(claim.with_name(name))
        return True
    return False


def _wait(holder: ObjectPath, started: float, timeout: float | None, on_wait: Callable[[str], object] | None) -> None:
    try:
        who = holder.read_bytes().decode(errors="replace")
    except OSError:  # it went meanwhile, or is being written anew
        who = "another process"
    if timeout is not None and time.monotonic() - started >= timeout:
        raise TimeoutError(who)
    if on_wait:
        on_wait(who)
    time.sleep(POLL * (0.5 + random.random()))


def _remove(path: ObjectPath) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
