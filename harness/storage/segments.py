"""Segments: many records in one sealed Parquet file, so that a hundred thousand of them are read in seconds.

They lie in `segments/` below the folder of a fingerprint and are never changed. A record is in a file of its own, in a
segment, or, when a compaction was killed half way, in both (compact.py): whoever reads looks at the files first, then
at the segments, and so misses none that moves meanwhile.

A harness that knew no segments would take those trials for missing. It finds `segments.parquet` beside the records, of
a schema that it does not know, and says so instead.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from functools import lru_cache, singledispatch
from pathlib import Path
from typing import Any

from harness.record import Record
from harness.storage import files, rows, sealed
from harness.storage.objects import ObjectPath, Place
from harness.storage.rows import SUFFIX, NewerSchema

FOLDER, MARKER = "segments", f"segments{SUFFIX}"
FIRST_SCHEMA = 2
"""Schema version from which segments are known."""


@singledispatch
def paths(folder: Any) -> list[Path]:
    """Return the segments of the folder of a fingerprint, sorted."""
    below = folder / FOLDER
    if not os.path.isdir(below):  # nor where the name is too long for one: who writes there is told
        return []
    names = sorted(os.listdir(below))
    return [below / name for name in names if name.endswith(SUFFIX) and not name.startswith(".")]


@paths.register
def _(folder: ObjectPath) -> list[Path]:
    """None: in an object store each record stays an object, read many at once."""
    return []


def places(folder: Place) -> Mapping[str, Path]:
    """Return {trial id: its segment} of a folder. Raises ValueError, naming a segment that cannot be read."""
    found = [(path, path.stat()) for path in paths(folder)]
    return _places(tuple((path, status.st_mtime_ns, status.st_size) for path, status in found))


Known = tuple[Path, int, int]
"""A segment by its name, time and size, which tell whether it is the same."""


@lru_cache(maxsize=16)
def _places(known: tuple[Known, ...]) -> dict[str, Path]:
    """The same, which is found once: a launcher asks before every trial."""
    return {trial_id: segment[0] for segment in known for trial_id in _ids(segment)}


@lru_cache(maxsize=4096)
def _ids(known: Known) -> tuple[str, ...]:
    """Ids in a segment, which is read once."""
    import pyarrow as pa

    path = known[0]
    try:
        return tuple(_columns(path, ["trial_id"])["trial_id"].to_pylist())
    except (ValueError, KeyError, OSError, pa.ArrowException) as err:
        raise ValueError(_damaged(path, err)) from err


def read(path: Path, columns: Collection[str] | None = None, ids: Collection[str] | None = None) -> Any:
    """Return the table in a segment: with the columns and of the trials that are named, or all; or what is wrong with
    it and what to do, as text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        sealed.check(path)
        table = _columns(path, None if columns is None else rows.ALWAYS.union(columns))
        rows.check_version(table)
        if ids is not None:
            table = table.filter(pc.is_in(table["trial_id"], pa.array(list(ids), pa.string())))
    except NewerSchema as err:
        return f"{path} {err}\n  try: update harness"
    except (ValueError, KeyError, OSError, pa.ArrowException) as err:
        return _damaged(path, err)
    return table


def publish(folder: Path, name: str, data: bytes) -> Path:
    """Put a segment in its place for good, after the mark for those who know none."""
    path = folder / FOLDER / (name + SUFFIX)
    mark = Record(
        trial_id=FOLDER, benchmark="", trial="{}", task="", cell="", seed=0, status="failed",
        reason=f"the records beside this file lie in {FOLDER}/", schema_version=FIRST_SCHEMA,
    )  # fmt: skip
    files.publish(folder / MARKER, rows.encode(mark))
    files.publish(path, data)
    return path


def _columns(path: Path, names: Collection[str] | None) -> Any:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        wanted = [name for name in file.schema_arrow.names if names is None or name in names]
        return file.read(wanted, use_threads=False)


def _damaged(path: Path, err: Exception) -> str:
    remedy = "the same command then repeats its trials"
    return f"{path} {err}\n  try: bring it back from a copy, or rm '{path}'; {remedy}"
