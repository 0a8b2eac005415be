"""Bringing results home: from the shared folder where it is mounted here, else by a command that the cluster names."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import DamagedStore, Fault, UserError
from harness.jobs.cluster import Cluster
from harness.storage import files, segments, store
from harness.storage.objects import Place, place

TIMEOUT = 3600.0
"""Seconds for the command that copies."""


@dataclass
class Fetched:
    """What came."""

    records: int = 0
    there: int = 0
    others: int = 0
    kept: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def fetch(cluster: Cluster, name: str, results: Path) -> Fetched:
    """Copy the records of a benchmark, and what lies beside them, into `results`.

    Each record is checked, and one that is here already stays. A link is never followed. Raises DamagedStore at the end
    if a record is not whole.
    """
    with _source(cluster, name, results) as source:
        paths = sorted(_files(source), key=lambda path: path.suffix == store.SUFFIX)  # records after their weights
        came = Fetched()
        for path in paths:
            _take(path, results / name / path.relative_to(source), came)
    if came.damaged:
        raise DamagedStore("\n".join(came.damaged))
    return came


def _files(source: Any) -> Iterator[Any]:
    """Yield the regular files of a benchmark's folder; hidden ones, locks and checkpoints stay where they are."""
    for path in source.rglob("*"):
        parts = path.relative_to(source).parts
        hidden = any(part.startswith(".") or part.endswith(store.CHECKPOINT) for part in parts)
        links = any((source / "/".join(parts[: i + 1])).is_symlink() for i in range(len(parts)))
        if not hidden and not links and path.is_file():
            yield path


def _take(path: Place, to: Path, came: Fetched) -> None:
    """Copy a file; what is a record, only if it is whole."""
    with files.explained("results", to):
        data = path.read_bytes()
        if path.suffix != store.SUFFIX:
            came.others += 1
            files.replace(to, data)
            return
        try:
            count = _records(path)
        except DamagedStore as error:
            came.damaged.append(str(error))
            return
        if files.publish(to, data):
            came.records += count
        elif to.read_bytes() == data:
            came.there += 1
        else:
            came.kept.append(str(to))


def _records(path: Any) -> int:
    """Return how many records a file holds. Raises DamagedStore if it is not whole."""
    if path.name == segments.MARKER:
        return 0
    if path.parent.name != segments.FOLDER:
        store.read_file(path)
        return 1
    table = segments.read(path, ())
    if isinstance(table, str):
        raise DamagedStore(table)
    return len(table)


@contextmanager
def _source(cluster: Cluster, name: str, results: Path) -> Iterator[Any]:
    """Yield a folder here with the benchmark's results."""
    there = place(cluster.results) / name
    if cluster.fetch is None or not isinstance(there, Path):
        if not there.is_dir():
            remedy = "mount it here, or give the cluster's file `fetch: [rsync, -a, 'HEAD:{from}/', '{to}/']`"
            raise UserError(Fault("no such folder to be seen from here", str(there), remedy=remedy))
        yield there
        return
    files.make_folder(results)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=results) as staging:
        command = [word.replace("{from}", str(there)).replace("{to}", staging) for word in cluster.fetch]
        _run(command)
        yield Path(staging)


def _run(command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        raise UserError(Fault(f"{command[0]} is not installed here", "fetch", remedy="install it, or mount the folder"))
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(Fault(f"{command[0]} took more than {TIMEOUT:g} seconds", "fetch")) from None
    if done.returncode:
        what = f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}"
        raise UserError(Fault(what, "fetch", remedy=" ".join(command)))
