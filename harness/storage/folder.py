"""What lies in the folder of a fingerprint, as Records: in files of their own and in segments, each record once."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness.errors import DamagedStore
from harness.record import Record
from harness.storage import files, rows, segments
from harness.storage.objects import Place
from harness.storage.rows import SUFFIX

_LISTED = 10


def loose(folder: Place) -> list[Place]:
    """Return the records that have a file of their own, sorted; whatever else lies there is left out."""
    if not (os.path.isdir(folder) if isinstance(folder, Path) else folder.is_dir()):  # no name is too long for isdir
        return []
    names = [name for name in files.names(folder) if name.endswith(SUFFIX) and not name.startswith(".")]
    return [folder / name for name in sorted(names) if name != segments.MARKER]


def places(folder: Place) -> Mapping[str, Path]:
    """Return {trial id: its segment}. Raises DamagedStore."""
    try:
        return segments.places(folder)
    except ValueError as err:
        raise DamagedStore(str(err)) from None


def read(
    folders: Iterable[Place], columns: Collection[str] | None = None, ids: Collection[str] | None = None
) -> list[Record]:
    """Return what is stored in folders, each sorted by trial id: with the fields named in `columns`, or all; of the
    trials in `ids`, or all.

    First the files are read, then the segments, into which a file may move meanwhile. A record that is in both, to the
    last bit, counts once. Raises DamagedStore naming every damaged file.
    """
    found: list[Record] = []
    damaged: list[str] = []
    for folder in folders:
        alone = [path for path in loose(folder) if ids is None or path.name.removesuffix(SUFFIX) in ids]
        own = rows.records_of(_tables(alone, damaged, columns))
        held: list[Record] = []
        for path in segments.paths(folder) if ids is None else _holding(folder, ids):
            held += rows.records_of(_sound([segments.read(path, columns, ids)], damaged))
        twice = {record.trial_id for record in own} & {record.trial_id for record in held}
        same = _equal(folder, twice)
        found += sorted([*(r for r in own if r.trial_id not in same), *held], key=lambda record: record.trial_id)
    _raise(damaged)
    return found


def records(paths: Iterable[Place], columns: Collection[str] | None = None) -> list[Record]:
    """Return the records that have, or had, files of these names, in one folder, with the fields named in `columns`, or
    all. Raises DamagedStore, and KeyError for one that was never there."""
    wanted = {path.name.removesuffix(SUFFIX): path for path in paths}
    damaged: list[str] = []
    found = {record.trial_id: record for record in rows.records_of(_tables([*wanted.values()], damaged, columns))}
    _raise(damaged)
    for trial_id in wanted.keys() - found.keys():
        found |= of_segments(wanted[trial_id].parent, {trial_id}, columns)
    return [found[trial_id] for trial_id in wanted]


def _equal(folder: Place, ids: Collection[str]) -> set[str]:
    """Of trials that have a record in a file and one in a segment, those where both are the same."""
    held = of_segments(folder, ids) if ids else {}
    own = records(folder / (trial_id + SUFFIX) for trial_id in ids)
    return {record.trial_id for record in own if repr(record) == repr(held[record.trial_id])}


def of_segments(folder: Place, ids: Collection[str], columns: Collection[str] | None = None) -> dict[str, Record]:
    """Return {trial id: its record}, with the fields named in `columns`, or all, of those that a segment holds."""
    damaged: list[str] = []
    found = rows.records_of(_sound((segments.read(path, columns, ids) for path in _holding(folder, ids)), damaged))
    _raise(damaged)
    return {record.trial_id: record for record in found}


def _holding(folder: Place, ids: Collection[str]) -> list[Path]:
    """Return the segments that hold any of some trials."""
    where = places(folder)
    return sorted({where[trial_id] for trial_id in ids if trial_id in where})


def _tables(paths: Sequence[Place], damaged: list[str], columns: Collection[str] | None = None) -> list[Any]:
    """Read many one-row files in threads; one that is gone meanwhile is left out."""

    def read_one(path: Place) -> Any:
        table = rows.read(path)
        if table is None or isinstance(table, str) or columns is None:
            return table
        return table.select([name for name in table.column_names if name in rows.ALWAYS or name in columns])

    with ThreadPoolExecutor() as pool:
        return _sound(pool.map(read_one, paths), damaged)


def _sound(tables: Iterable[Any], damaged: list[str]) -> list[Any]:
    """Leave out what is not there, and set aside what is wrong with the others."""
    found = [table for table in tables if table is not None]
    damaged += [table for table in found if isinstance(table, str)]
    return [table for table in found if not isinstance(table, str)]


def _raise(damaged: list[str]) -> None:
    if damaged:
        more = [f"and {len(damaged) - _LISTED} more"] if len(damaged) > _LISTED else []
        raise DamagedStore("\n".join(damaged[:_LISTED] + more))
