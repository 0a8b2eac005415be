"""Files that are whole or absent, whatever happens while they are written; and locks that die with their holder.

`publish` writes a file once (the first writer wins), `replace` writes it anew; both go through a temporary file in the
same folder, synced before it gets its name. A reader never sees half a file, a full disk or a kill leaves what was
there. Names that start with `.tmp-` are leftovers of a killed writer: readers ignore them.

The same for names in an object store (objects.py), where a PUT is atomic and a claim is a lease (lease.py). What takes
either kind of place is declared to take anything, for a type checker knows no union that is dispatched on.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import singledispatch
from pathlib import Path
from typing import Any

from harness.errors import Stopped
from harness.storage import lease
from harness.storage.lease import Lease
from harness.storage.objects import ObjectError, ObjectPath, Place

POLL_SECONDS = 0.1
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
REMEDIES = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there, or have the quota raised",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EIO: "have the disk checked (dmesg tells more)",
    errno.EROFS: "make that file system writable",
    errno.EACCES: "make that folder writable",
    errno.ENOTDIR: "choose a folder: a file has the name of one on the way there",
    errno.EEXIST: "choose a folder: a file has the name of one on the way there",
    errno.ENOLCK: "use a file system that supports locks",
}


@singledispatch
def publish(path: Any, data: bytes) -> bool:
    """Write a new file atomically and return True; where one of that name exists it stays, and False is returned."""
    with _written(path, data) as temp:
        try:
            os.link(temp, path)  # unlike a rename it fails where the name is taken: exactly one writer wins
        except FileExistsError:
            return False
        except OSError as err:
            if err.errno not in _NO_LINKS:
                raise
            if path.exists():  # no hard links on this file system: exclusive only among holders of a lock
                return False
            os.rename(temp, path)
    sync_folder(path.parent)
    return True


@publish.register
def _(path: ObjectPath, data: bytes) -> bool:
    """Exclusive among holders of a claim; where one has lapsed unnoticed, the later of two whole objects stays."""
    if path.exists():
        return False
    path.write_bytes(data)
    return True


@singledispatch
def replace(path: Any, data: bytes) -> None:
    """Write a file atomically, over the old one if there is one."""
    with _written(path, data) as temp:
        os.replace(temp, path)
    sync_folder(path.parent)


@replace.register
def _(path: ObjectPath, data: bytes) -> None:
    path.write_bytes(data)


@contextmanager
def _written(path: Path, data: bytes) -> Iterator[Path]:
    """Yield a synced temporary file beside `path`; remove it at the end unless it was renamed."""
    make_folder(path.parent)
    temp = path.with_name(f".tmp-{path.stem[:100]}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        yield temp
    finally:
        with suppress(OSError):
            os.unlink(temp)


@singledispatch
def make_folder(folder: Any) -> None:
    """Make a folder and its parents so that they outlive a power cut; fine if it exists."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


@make_folder.register
def _(folder: ObjectPath) -> None:
    """There are none."""


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as err:
        if err.errno != errno.EINVAL:  # this file system cannot sync a folder
            raise
    finally:
        os.close(descriptor)


@singledispatch
def names(folder: Any) -> list[str]:
    """Return what lies in a folder. Raises FileNotFoundError where there is none."""
    return os.listdir(folder)


@names.register
def _(folder: ObjectPath) -> list[str]:
    return [one.name for one in folder.listed()]


@singledispatch
def remove_tree(folder: Any) -> None:
    """Remove a folder and all in it, as far as that goes."""
    shutil.rmtree(folder, ignore_errors=True)


@remove_tree.register
def _(folder: ObjectPath) -> None:
    with suppress(OSError):
        folder.remove_tree()


@singledispatch
def move(folder: Any, to: Any) -> None:
    """Rename a folder."""
    os.rename(folder, to)


@move.register
def _(folder: ObjectPath, to: ObjectPath) -> None:
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    folder.remove_tree()


@contextmanager
def explained(what: str, where: Place) -> Iterator[None]:
    """Turn a failure of the operating system while writing into Stopped: what, where, and what to type next."""
    try:
        yield
    except ObjectError as err:
        raise Stopped(
            f"cannot write {what}: {err.what}\n  where: {where}\n"
            f"  try: {err.remedy or 'mend that'}; then run the same command again, and what is stored stays"
        ) from err
    except OSError as err:
        name = errno.errorcode.get(err.errno or 0, type(err).__name__)
        remedy = REMEDIES.get(err.errno or 0, "mend that")
        raise Stopped(
            f"cannot write {what}: {err.strerror or err} ({name})\n  where: {where}\n"
            f"  try: {remedy}, then run the same command again; what is stored stays, nothing was left half-written"
        ) from err


@singledispatch
def acquire(path: Any, timeout: float | None = None, on_wait: Callable[[str], object] | None = None) -> Any:
    """Take the lock at `path` and return what `release` wants. The kernel frees it when this process dies.

    Waits for a live holder, in short naps so that Ctrl-C works: `on_wait(holder)` is called at each. Raises
    TimeoutError, with the holder, after `timeout` seconds; None waits for as long as it takes.
    """
    import fcntl

    make_folder(path.parent)
    started = time.monotonic()
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        held = False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = _is_at(descriptor, path)
            if held:
                _sign(descriptor)
                return descriptor
            continue  # the holder before us removed the file: lock the one that is there now
        except BlockingIOError:
            holder = os.pread(descriptor, 300, 0).decode(errors="replace") or "another process"
        finally:
            if not held:
                os.close(descriptor)
        if timeout is not None and time.monotonic() - started >= timeout:
            raise TimeoutError(holder)
        if on_wait:
            on_wait(holder)
        time.sleep(POLL_SECONDS)


@acquire.register
def _(path: ObjectPath, timeout: float | None = None, on_wait: Callable[[str], object] | None = None) -> Lease:
    return lease.acquire(path, timeout, on_wait)


@singledispatch
def release(path: Any, descriptor: int) -> None:
    """Free a lock. Its file goes first, while the lock is held: who waits then sees that it locked a removed file."""
    with suppress(OSError):
        if _is_at(descriptor, path):
            os.unlink(path)
    os.close(descriptor)


@release.register
def _(path: ObjectPath, held: Lease) -> None:
    held.release()


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether the open file is the one that has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    """Write who holds the lock, for those who wait; on a full disk they do without."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
