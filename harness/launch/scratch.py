"""Scratch folders of local Rays: made, kept for as long as anybody works in them, and swept up after a kill."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from harness.storage import files

PREFIX, OWNER, USERS = "harness-", "owner", "users"
"""How names of the folders begin, and the locks in each: of the command that made it, and of the workers of its trials,
which may outlive a killed command for some seconds."""
_occupied: dict[str, int] = {}


def make() -> tuple[str, int]:
    """Return a new folder and the lock of its owner, for `remove`."""
    folder = tempfile.mkdtemp(prefix=PREFIX)
    return folder, files.acquire(Path(folder, OWNER))


def remove(folder: str, lock: int) -> None:
    """Remove the folder of a command that ends, and those that killed ones left."""
    files.release(Path(folder, OWNER), lock)
    shutil.rmtree(folder, ignore_errors=True)
    sweep_up()


def occupy(folder: str) -> None:
    """Keep the folder from being swept up while this process lives: it is where a trial runs."""
    if folder not in _occupied:
        descriptor = os.open(Path(folder, USERS), os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        _occupied[folder] = descriptor


def sweep_up() -> None:
    """Remove the folders of commands that were killed, which could not do it themselves; one that a worker of such a
    command still works in stays until the next time: without its folder the trial would fail, and be stored so."""
    for owner in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{OWNER}"):
        with suppress(OSError):  # it is in use, or another user's
            lock = files.acquire(owner, timeout=0)
            try:
                if _deserted(owner.with_name(USERS)):
                    shutil.rmtree(owner.parent, ignore_errors=True)
            finally:
                os.close(lock)


def _deserted(users: Path) -> bool:
    """Whether no worker holds its share of the lock."""
    descriptor = os.open(users, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
