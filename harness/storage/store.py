"""The store: results/<benchmark>/<fingerprint>/<trial id>.parquet, one record a file, written once and sealed.

Beside it lies `<trial id>.weights`, what was trained: an ordinary file of torch's, named by the record's hash of it.
The store is the truth of what was run: a trial whose record exists is not run again, and reports read nothing else.
Many records move into segments (segments.py, compact.py); whoever asks the store does not notice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from harness.errors import Fault, Stopped, UserError
from harness.record import Record
from harness.storage import files, folder, rows, segments
from harness.storage.objects import ObjectError, Place, place
from harness.storage.rows import SUFFIX

WEIGHTS, CHECKPOINT = ".weights", ".checkpoint"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Store:
    """The records of one benchmark on one kind of machine, below the folder `root`."""

    def __init__(self, root: Place | str, benchmark: str, fingerprint: str) -> None:
        self.root = place(str(root))
        for name in (benchmark, fingerprint):
            _check_name(name)
        self.benchmark_folder = self.root / benchmark
        self.folder = self.benchmark_folder / fingerprint
        whole: Any = self.root.resolve()
        if not self.folder.resolve().is_relative_to(whole):
            raise UserError(
                Fault(f"{self.folder} leads out of {self.root}", remedy="remove the link, or choose another name")
            )

    def path(self, trial_id: str) -> Place:
        """Return where the record of a trial lies, or would lie."""
        return self.folder / (_check_name(trial_id) + SUFFIX)

    def has(self, trial_id: str) -> bool:
        """Return whether the record of a trial is stored."""
        return self.path(trial_id).exists() or trial_id in folder.places(self.folder)

    def ids(self) -> set[str]:
        """Return the ids of all stored trials."""
        return {path.name.removesuffix(SUFFIX) for path in self.loose()} | folder.places(self.folder).keys()

    def loose(self) -> list[Place]:
        """Return the records that have a file of their own, sorted."""
        return folder.loose(self.folder)

    def write(self, record: Record) -> bool:
        """Store a record for good and return True; False if one of that trial is stored already, which then stays.

        Raises Stopped where the disk is full or fails; nothing is left half-written.
        """
        path = self.path(record.trial_id)
        data = rows.encode(record)
        if record.trial_id in folder.places(self.folder):
            return False
        with files.explained(f"the record of trial {record.trial_id}", path.parent):
            return files.publish(path, data)

    def weights_path(self, trial_id: str) -> Place:
        """Return where the trained weights of a trial lie, or would lie."""
        return self.folder / (_check_name(trial_id) + WEIGHTS)

    def write_weights(self, trial_id: str, data: bytes) -> None:
        """Store the weights of a trial, before its record: what a killed run left is written anew.

        Raises Stopped where the disk is full or fails; nothing is left half-written.
        """
        path = self.weights_path(trial_id)
        with files.explained(f"the weights of trial {trial_id}", path.parent):
            files.replace(path, data)

    def checkpoint_folder(self, trial_id: str) -> Place:
        """Return where the checkpoints of a trial that has no record yet lie, or would lie."""
        return self.folder / (_check_name(trial_id) + CHECKPOINT)

    def checkpointed(self) -> set[str]:
        """Return the ids of the trials that have checkpoints."""
        return {path.name.removesuffix(CHECKPOINT) for path in self.folder.glob(f"[!.]*{CHECKPOINT}")}

    def read(self, trial_id: str) -> Record:
        """Return the record of a stored trial. Raises DamagedStore, and KeyError where there is none."""
        return folder.records([self.path(trial_id)])[0]

    def read_all(self, columns: Collection[str] | None = None, ids: Collection[str] | None = None) -> list[Record]:
        """Return every record, or those in `ids`, sorted by trial id; of `columns` only, where some are named. Raises
        DamagedStore naming all files that are damaged."""
        return folder.read([self.folder], columns, ids)

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
            with suppress(FileNotFoundError):  # where a lock is the file itself
                probe.unlink()
        except ObjectError:
            raise
        except OSError as err:
            remedy = files.REMEDIES.get(err.errno or 0, "check that path")
            what = f"cannot write results: {err.strerror or err}"
            raise UserError(Fault(what, str(self.folder), "", f"{remedy}, or another place: --results DIR")) from err


def open_folder(path: Place | str, columns: Collection[str] | None = None) -> list[Record]:
    """Return every record of a benchmark's folder (results/<benchmark>), over all fingerprints.

    A folder of one fingerprint works too. `columns`: fields to read; others have their defaults. Raises UserError where
    there is no such folder, DamagedStore as `read_all`.
    """
    path = place(str(path))
    if not path.is_dir():
        raise UserError(Fault(f"no results at {path}", remedy="harness run a benchmark first, or check the path"))
    below = sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    return folder.read([path, *(each for each in below if each.name != segments.FOLDER)], columns)


def read_file(path: Place) -> Record:
    """Return the record in a file, or what was in it before it moved into a segment. Raises DamagedStore, and KeyError
    where there is none."""
    return folder.records([path])[0]


def samples(path: Place) -> Callable[[Record], str]:
    """Return how the samples of a record of `open_folder(path, columns)` are read, where its columns have none."""

    @cache
    def read(trial_id: str, fingerprint: str) -> str:
        below = next(each for each in (path / fingerprint, path) if each.is_dir())
        return folder.records([below / (trial_id + SUFFIX)], {"samples"})[0].samples

    return lambda record: read(record.trial_id, record.fingerprint)


def find(root: Place, prefix: str) -> list[Place]:
    """Return the files below a results folder of the trials whose id begins so, over all benchmarks and machines; those
    in segments as the files that they had."""
    if not prefix:
        return []
    found = {path for path in root.glob(f"*/*/[!.]*{SUFFIX}") if path.name != segments.MARKER}
    for below in root.glob(f"*/*/{segments.FOLDER}"):
        found |= {below.parent / (trial_id + SUFFIX) for trial_id in folder.places(below.parent)}
    return sorted(path for path in found if path.name.startswith(prefix))


def _check_name(name: str) -> str:
    """Return a name that is one path component and nothing else. Raises UserError."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        allowed = "letters, figures, '.', '_' and '-', at most 100, the first a letter or figure"
        raise UserError(Fault(f"cannot name a folder or file {name!r:.120}", allowed=allowed))
    return name
