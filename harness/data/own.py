"""Files of a user's own: where they lie, what they hold, and which line is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from harness.errors import Fault, UserError
from harness.tasks.base import Split


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
    """Hash of names and content of the files at a path."""
    root, digest = Path(data).expanduser(), hashlib.sha256()
    for path in files(data):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def dealt(names: Sequence[str]) -> dict[str, Split]:
    """Deal files of no stated split out by the hash of their names: a tenth to test, a tenth to validate, at least one
    of each, the others to train; so the files that stay keep their order when others come."""
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    tenth = max(1, len(order) // 10)
    return {name: "test" if i < tenth else "valid" if i < 2 * tenth else "train" for i, name in enumerate(order)}
