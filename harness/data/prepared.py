"""Data prepared once: numbered, checked, stored as Arrow and memory-mapped by every trial of a machine.

A folder of the cache for each key (source hashes, settings, the code that prepares): one Arrow file a split, and
`facts.json`. It appears whole, by a rename, or not at all; one process prepares while others wait.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.data import sources
from harness.data.check import check_examples
from harness.errors import Fault, UserError
from harness.late import np
from harness.storage.files import acquire, explained, make_folder, release
from harness.tasks.base import SPLITS, Examples, Shape, Split

FORMAT = 2
"""Raised when what is stored here changes."""


@dataclass(frozen=True)
class Content:
    """What a task makes of its files. `facts` is plain JSON: vocabularies, labels, statistics."""

    shape: Shape
    floor: float
    splits: dict[Split, Examples]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Prepared:
    """A folder of prepared data."""

    folder: Path
    shape: Shape
    floor: float
    facts: dict[str, Any]
    counts: list[tuple[list[int], list[int]]]
    """Of steps that training examples are read in and of symbols that are written: (different ones, how often each)."""

    @classmethod
    def open(cls, folder: Path) -> Prepared:
        """Read sizes and facts; arrays are mapped when a split is asked for."""
        stored = json.loads((folder / "facts.json").read_text())
        return cls(folder, Shape(**stored["shape"]), stored["floor"], stored["facts"], stored["counts"])

    def split(self, split: Split) -> Examples:
        """Map one split into memory, which costs no memory until it is read."""
        import pyarrow as pa

        with pa.memory_map(str(self.folder / f"{split}.arrow")) as file:
            table = pa.ipc.open_file(file).read_all()
        about = json.loads(table.schema.metadata[b"harness"])
        arrays = {}
        for name, (dtype, shape) in about["arrays"].items():
            column = table.column(name).chunk(0)
            while hasattr(column, "values"):
                column = column.values
            arrays[name] = column.to_numpy(zero_copy_only=True).view(dtype).reshape(shape)
        references = _Texts(table.column("references").chunk(0)) if "references" in table.column_names else None
        return Examples(**arrays, scale=about["scale"], references=references, digest=about["digest"])


class _Texts(Sequence):
    """Lists of texts in a mapped column, read when asked for."""

    def __init__(self, column: Any) -> None:
        self.column = column

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, index: Any) -> Any:
        return self.column[int(index)].as_py()


@dataclass(frozen=True)
class Place:
    """The folder of what is prepared under some settings, and all that decides its content."""

    folder: Path
    of: dict[str, Any]

    def ready(self) -> bool:
        """Whether it was prepared; no, where the folder cannot even be looked at."""
        return os.path.isdir(self.folder)


def place_of(key: dict[str, Any], files: Sequence[str], task: type) -> Place:
    """Name the folder of what `task` prepares from `files` ("source/file") under the settings `key`."""
    hashes = {name: sources.find(name.partition("/")[0]).files[name.partition("/")[2]].sha256 for name in files}
    of = {"format": FORMAT, "key": key, "files": hashes, "code": _code(task)}
    name = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:16]
    return Place(sources.cache_folder() / "prepared" / f"{key['task']}-{name}", of)


def prepared(place: Place, make: Callable[[], Content]) -> Prepared:
    """Open what `make` prepares at a place; make it if it is not there. Raises Stopped where it cannot be written."""
    if not place.ready():
        with _alone(place.folder):
            if not place.ready():
                print(f"preparing the data of {place.of['key']['task']}, once", file=sys.stderr, flush=True)
                content = make()
                with explained(f"the data of {place.of['key']['task']}", place.folder.parent):
                    _store(content, place)
    return _opened(place.folder)


_opened = cache(Prepared.open)  # a folder never changes, and vocabularies are long


@cache
def _code(task: type) -> str:
    """Hash of the files that define the task and the readers beside this one: other code, other data."""
    paths = {Path(inspect.getfile(base)) for base in task.__mro__ if base.__module__.startswith("harness.tasks")}
    paths |= {*Path(__file__).parent.glob("read_*.py"), *map(Path(__file__).with_name, ("text.py", "floors.py"))}
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(paths))).hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep others from preparing the same inside; what a killed process left of it is removed first."""
    lock = folder.with_suffix(".lock")
    try:
        make_folder(folder.parent)
        descriptor = acquire(lock)
    except OSError as error:
        what, remedy = f"cannot write prepared data: {error.strerror}", "set HARNESS_CACHE to a folder of yours"
        raise UserError(Fault(what, where=str(folder.parent), remedy=remedy)) from error
    try:
        for leftover in folder.parent.glob(f".{folder.name}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
    finally:
        release(lock, descriptor)


def _store(content: Content, place: Place) -> None:
    folder, task = place.folder, place.of["key"]["task"]
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for split in SPLITS:
            check_examples(content.splits[split], content.shape, f"{task}, {split} split")
            _write(content.splits[split], temporary / f"{split}.arrow")
        about = {"shape": asdict(content.shape), "floor": content.floor, "facts": content.facts, "of": place.of}
        about["counts"] = _counts(content)
        with (temporary / "facts.json").open("w") as file:
            json.dump(about, file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _counts(content: Content) -> list[tuple[list[int], list[int]]]:
    train, written = content.splits["train"], content.shape.target_steps and not content.shape.blank
    due = (train.targets != -100).sum(1) if written else np.zeros(len(train), int)
    (read, often), (answered, as_often) = (np.unique(steps, return_counts=True) for steps in (train.lengths, due))
    return [(read.tolist(), often.tolist()), (answered.tolist(), as_often.tolist())]


def _write(examples: Examples, path: Path) -> None:
    """Write one split; each array is one column of fixed-size lists, so that it is read back without a copy."""
    import pyarrow as pa

    arrays = {name: np.ascontiguousarray(getattr(examples, name)) for name in ("inputs", "targets", "lengths")}
    about = {
        "arrays": {name: [array.dtype.str, array.shape] for name, array in arrays.items()},
        "scale": examples.scale,
        "digest": examples.sha256(),
    }
    columns = {}
    for name, array in arrays.items():
        flat = pa.array(array.reshape(-1))
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, array.size // len(array)) if array.ndim > 1 else flat
    if examples.references is not None:
        columns["references"] = pa.array([list(texts) for texts in examples.references], pa.list_(pa.string()))
    batch = pa.record_batch(columns).replace_schema_metadata({"harness": json.dumps(about)})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)
