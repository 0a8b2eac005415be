"""Files of a user's own: where they lie, what they hold, and which line is wrong."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from harness.errors import Fault, UserError
from harness.tasks.base import Split

CLOCK_TICK = 2.0
"""Seconds in which some file systems give two changes of a file one time."""


def is_path(data: str) -> bool:
    """Whether a `data` setting is a path, not the name of a data set: it has a slash, or something lies there."""
    return "/" in data or Path(data).exists()


def files(data: str) -> list[Path]:
    """Return the files at a path, a file or a folder with everything below it, in order; UserError where none are."""
    root = Path(data).expanduser()
    found = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file()) if root.is_dir() else []
    if not found:
        raise UserError(Fault("no file there", where=data, allowed="a file, or a folder of files"))
    return found


def content_hash(data: str) -> str:
    """Hash of names and content of the files at a path; each is read anew when its size, time or place changes."""
    root, digest = Path(data).expanduser(), hashlib.sha256()
    for path in files(data):
        about = path.stat()
        settled = time.time() - about.st_mtime > CLOCK_TICK
        hash_of = _settled_hash if settled else _file_hash
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(hash_of(path, about.st_size, about.st_mtime_ns, about.st_ino))
    return digest.hexdigest()


def _file_hash(path: Path, *_: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


_settled_hash = cache(_file_hash)  # every trial of a sweep asks for it


def dealt(names: Sequence[str]) -> dict[str, Split]:
    """Deal files of no stated split out by the hash of their names: a tenth to test, a tenth to validate, at least one
    of each, the others to train; so the files that stay keep their order when others come."""
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    tenth = max(1, len(order) // 10)
    return {name: "test" if i < tenth else "valid" if i < 2 * tenth else "train" for i, name in enumerate(order)}
