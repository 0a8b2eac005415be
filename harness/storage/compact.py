"""Compaction: records that have a file each move into segments, and nothing is lost or doubled whenever it is killed.

A record's file goes only after the segment that holds it is on the disk, was read back, and is equal to the last bit.
Killed before that, the files are what counts; killed after, the next compaction removes the files whose record a
segment holds. One process at a time compacts a folder; others read and write meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import Fault, UserError
from harness.record import Record
from harness.storage import files, rows, sealed, segments
from harness.storage.folder import of_segments
from harness.storage.store import Store

T = TypeVar("T")
AT_ONCE = 1_000
"""Records of a segment: 16 MB, which are in memory once while it is made."""


def compact(store: Store, least: int = 1, timeout: float | None = 0) -> int:
    """Move the records of a store into segments of `least` to AT_ONCE; return how many moved.

    `timeout`: seconds to wait for another process that compacts the same folder; then, and with 0 at once, it is left
    to that one. A damaged file stays where it is, for reports to name.
    Raises DamagedStore for a damaged segment, Stopped where the disk is full or fails.
    """
    if not isinstance(store.folder, Path) or len(store.loose()) < least:  # in an object store each stays an object
        return 0
    lock = store.benchmark_folder / ".locks" / f"compact-{store.folder.name}"
    with files.explained("segments", store.folder):
        try:
            descriptor = files.acquire(lock, timeout)
        except TimeoutError:
            return 0
        try:
            moved = 0
            for batch in batched(store.loose()):
                moved += _move(store.folder, batch) if len(batch) >= min(least, AT_ONCE) else 0
            return moved
        finally:
            files.release(lock, descriptor)


def batched(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield AT_ONCE at a time: as many records as memory always has room for."""
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]


def _move(folder: Path, paths: Sequence[Any]) -> int:
    """Move the records in some files into a segment of their own, unless one holds them."""
    found = {path: table for path in paths if not isinstance(table := rows.read(path), str) and table is not None}
    records = dict(zip(found, rows.records_of(list(found.values())), strict=True))
    held = of_segments(folder, [record.trial_id for record in records.values()])
    fresh = {path: record for path, record in records.items() if record.trial_id not in held}
    if fresh:
        _publish(folder, list(fresh.values()))
    done = [path for path, r in records.items() if path in fresh or repr(held[r.trial_id]) == repr(r)]
    for path in done:  # a repeat with other numbers stays: reports weigh both
        path.unlink(missing_ok=True)
    files.sync_folder(folder)
    return len(done)


def _publish(folder: Path, records: Sequence[Record]) -> None:
    """Write a segment, and read it back from the disk before anything that it holds may go."""
    data = sealed.pack(rows.table_of(records))
    path = segments.publish(folder, hashlib.sha256(data).hexdigest()[:16], data)
    back = rows.records_of([sealed.unpack(path.read_bytes())])
    assert list(map(repr, back)) == list(map(repr, records)), f"{path} does not hold what was written into it"


def stores(path: Path) -> list[Store]:
    """Return the stores of a benchmark's folder (results/<benchmark>), one for each kind of machine. Raises UserError
    where there is no such folder."""
    path = Path(path)
    if not path.is_dir():
        raise UserError(Fault(f"no results at {path}", remedy="harness run a benchmark first, or check the path"))
    below = sorted(place.name for place in path.iterdir() if place.is_dir() and any(place.glob(f"[!.]*{rows.SUFFIX}")))
    return [Store(path.resolve().parent, path.resolve().name, name) for name in below]
