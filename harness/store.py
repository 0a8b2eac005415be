"""The store: results/<benchmark>/<fingerprint>/<trial id>.parquet, one record a file, written once and sealed.

Beside it lies `<trial id>.weights`, what was trained: an ordinary file of torch's, named by the record's hash of it.
The store is the truth of what was run: a trial whose record exists is not run again, and reports read nothing else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import files, sealed
from harness.errors import DamagedStore, Fault, Stopped, UserError
from harness.record import SCHEMA_VERSION, Record, arrow_schema

SUFFIX, WEIGHTS, CHECKPOINT = ".parquet", ".weights", ".checkpoint"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LISTED = 10


class NewerSchema(ValueError):
    """A record written by a newer harness."""


class Store:
    """The records of one benchmark on one kind of machine, below the folder `root`."""

    def __init__(self, root: Path, benchmark: str, fingerprint: str) -> None:
        self.root = Path(root)
        for name in (benchmark, fingerprint):
            _check_name(name)
        self.benchmark_folder = self.root / benchmark
        self.folder = self.benchmark_folder / fingerprint
        if not self.folder.resolve().is_relative_to(self.root.resolve()):
            raise UserError(
                Fault(f"{self.folder} leads out of {self.root}", remedy="remove the link, or choose another name")
            )

    def path(self, trial_id: str) -> Path:
        """Return where the record of a trial lies, or would lie."""
        return self.folder / (_check_name(trial_id) + SUFFIX)

    def has(self, trial_id: str) -> bool:
        """Return whether the record of a trial is stored."""
        return self.path(trial_id).exists()

    def ids(self) -> set[str]:
        """Return the ids of all stored trials."""
        return {path.name.removesuffix(SUFFIX) for path in _record_files(self.folder)}

    def write(self, record: Record) -> bool:
        """Store a record for good and return True; False if one of that trial is stored already, which then stays.

        Raises Stopped where the disk is full or fails; nothing is left half-written.
        """
        path = self.path(record.trial_id)
        data = encode(record)
        with files.explained(f"the record of trial {record.trial_id}", path.parent):
            return files.publish(path, data)

    def weights_path(self, trial_id: str) -> Path:
        """Return where the trained weights of a trial lie, or would lie."""
        return self.folder / (_check_name(trial_id) + WEIGHTS)

    def write_weights(self, trial_id: str, data: bytes) -> None:
        """Store the weights of a trial, before its record: what a killed run left is written anew.

        Raises Stopped where the disk is full or fails; nothing is left half-written.
        """
        path = self.weights_path(trial_id)
        with files.explained(f"the weights of trial {trial_id}", path.parent):
            files.replace(path, data)

    def checkpoint_folder(self, trial_id: str) -> Path:
        """Return where the checkpoints of a trial that has no record yet lie, or would lie."""
        return self.folder / (_check_name(trial_id) + CHECKPOINT)

    def checkpointed(self) -> set[str]:
        """Return the ids of the trials that have checkpoints."""
        return {path.name.removesuffix(CHECKPOINT) for path in self.folder.glob(f"[!.]*{CHECKPOINT}")}

    def read(self, trial_id: str) -> Record:
        """Return the record of a stored trial. Raises DamagedStore, and KeyError where there is none."""
        if not self.has(trial_id):
            raise KeyError(trial_id)
        return _read_files([self.path(trial_id)])[0]

    def read_all(self) -> list[Record]:
        """Return every record, sorted by trial id. Raises DamagedStore naming all files that are damaged."""
        return _read_files(_record_files(self.folder))

    @contextmanager
    def claim(
        self, trial_id: str, timeout: float | None = None, on_wait: Callable[[str], object] | None = None
    ) -> Iterator[bool]:
        """Hold the sole right to run a trial, and yield whether its record is stored by now.

        An orphan of a killed launcher and the launcher started after it meet here: the second waits, then finds the
        record. `on_wait(holder)` is called about ten times a second; Stopped is raised after `timeout` seconds.
        """
        lock = self.benchmark_folder / ".locks" / _check_name(trial_id)
        with files.explained(f"the lock of trial {trial_id}", lock):
            try:
                descriptor = files.acquire(lock, timeout, on_wait)
            except TimeoutError as err:
                raise Stopped(
                    f"trial {trial_id} is still being run by {err}, after {timeout:g} seconds of waiting\n"
                    "  try: wait for that process or end it, then run the same command again"
                ) from None
        try:
            yield self.has(trial_id)
        finally:
            files.release(lock, descriptor)

    def check_writable(self) -> None:
        """Raise UserError unless records can be written and locked here. Called before anything is trained."""
        probe = self.folder / f".probe-{os.getpid()}"
        try:
            files.make_folder(self.folder)
            files.publish(probe, b"probe")
            files.release(probe, files.acquire(probe, timeout=0))
        except OSError as err:
            raise UserError(
                Fault(
                    f"cannot write results: {err.strerror or err}",
                    where=str(self.folder),
                    remedy="free some space there, make that folder writable, or choose another one for the results",
                )
            ) from err


def open_folder(path: Path) -> list[Record]:
    """Return every record of a benchmark's folder (results/<benchmark>), over all fingerprints.

    A folder of one fingerprint works too. Raises UserError where there is no such folder, DamagedStore as `read_all`.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(Fault(f"no results at {path}", remedy="harness run a benchmark first, or check the path"))
    below = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    return _read_files([file for folder in [path, *below] for file in _record_files(folder)])


def read_file(path: Path) -> Record:
    """Return the record in a file. Raises DamagedStore."""
    return _read_files([path])[0]


def find(root: Path, prefix: str) -> list[Path]:
    """Return the files below a results folder of the trials whose id begins so, over all benchmarks and machines."""
    return sorted(path for path in Path(root).glob(f"*/*/*{SUFFIX}") if path.name.startswith(prefix)) if prefix else []


def encode(record: Record) -> bytes:
    """Return a record as the bytes of its file."""
    import pyarrow as pa

    row = {key: _storable(value) for key, value in record.plain().items()}
    return sealed.pack(pa.Table.from_pylist([row], schema=arrow_schema()))


def decode(data: bytes) -> Any:
    """Return the one-row table in a record's file. Raises ValueError, saying what is wrong with it."""
    table = sealed.unpack(data)
    found = table["schema_version"][0].as_py()
    if found > SCHEMA_VERSION:
        raise NewerSchema(
            f"has schema version {found}, newer than {SCHEMA_VERSION}, the newest that this harness reads"
        )
    return table


def _read_files(paths: list[Path]) -> list[Record]:
    """Read many one-row files in threads; every damaged one is named before anything is raised."""
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(_read_file, paths))
    damaged = [f"{path} {table}" for path, table in zip(paths, found, strict=True) if isinstance(table, str)]
    if damaged:
        more = [f"and {len(damaged) - _LISTED} more"] if len(damaged) > _LISTED else []
        raise DamagedStore("\n".join(damaged[:_LISTED] + more))
    return [_record(row) for row in _rows(found)]


def _read_file(path: Path) -> Any:
    """Return the table in a file, or what is wrong with it and what to do, as text."""
    import pyarrow as pa

    remedy = f"\n  try: rm '{path}'; the same command then repeats that trial"
    try:
        table = decode(path.read_bytes())
    except NewerSchema as err:
        return f"{err}\n  try: update harness"
    except (ValueError, pa.ArrowException) as err:
        return f"{err}{remedy}"
    except OSError as err:
        return f"cannot be read: {err.strerror or err}"
    holds = table["trial_id"][0].as_py()
    return table if holds == path.name.removesuffix(SUFFIX) else f"holds the record of trial {holds}{remedy}"


def _rows(tables: list[Any]) -> list[dict[str, Any]]:
    """Return the row of each table, in order. Tables of one schema version are turned into Python at once."""
    import pyarrow as pa

    alike: dict[tuple[str, ...], list[int]] = {}
    for position, table in enumerate(tables):
        alike.setdefault(tuple(table.column_names), []).append(position)
    rows: dict[int, dict[str, Any]] = {}
    for positions in alike.values():
        rows |= zip(positions, pa.concat_tables([tables[p] for p in positions]).to_pylist(), strict=True)
    return [rows[position] for position in range(len(tables))]


def _record(row: dict[str, Any]) -> Record:
    """Return a stored row as a Record of today's schema: fields that came later have their default."""
    return Record.from_plain(row | {"schema_version": SCHEMA_VERSION})


def _storable(value: Any) -> Any:
    """Return a value that Arrow takes: text with half a surrogate pair, from an odd file name, is escaped."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _record_files(folder: Path) -> list[Path]:
    """Return the records in a folder, sorted; temporary files and whatever else lies there is left out."""
    if not folder.is_dir():
        return []
    names = [name for name in os.listdir(folder) if name.endswith(SUFFIX) and not name.startswith(".")]
    return [folder / name for name in sorted(names)]


def _check_name(name: str) -> str:
    """Return a name that is one path component and nothing else. Raises UserError."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        allowed = "letters, figures, '.', '_' and '-', at most 100, the first a letter or figure"
        raise UserError(Fault(f"cannot name a folder or file {name!r:.120}", allowed=allowed))
    return name
