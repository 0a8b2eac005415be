"""Data prepared once: numbered, checked, stored as Arrow and memory-mapped by every trial of a machine.

A folder of the cache for each key (source hashes, settings, the code that prepares): one Arrow file a split, and
`facts.json`. It appears whole, by a rename, or not at all; one process prepares while others wait.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.data import sources
from harness.data.check import check_examples
from harness.tasks.base import SPLITS, Examples, Shape, Split

FORMAT = 1
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

    @classmethod
    def open(cls, folder: Path) -> Prepared:
        """Read sizes and facts; arrays are mapped when a split is asked for."""
        stored = json.loads((folder / "facts.json").read_text())
        return cls(folder, Shape(**stored["shape"]), stored["floor"], stored["facts"])

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


def prepared(
    key: dict[str, Any], files: Sequence[str], task: type, make: Callable[[], Content], cache: Path | None = None
) -> Prepared:
    """Open what `make` prepares from `files` ("source/file") under these settings; make it if it is not there."""
    hashes = {name: sources.find(name.partition("/")[0]).files[name.partition("/")[2]].sha256 for name in files}
    whole = {"format": FORMAT, "key": key, "files": hashes, "code": _code(task)}
    name = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]
    folder = (cache or sources.cache_folder()) / "prepared" / f"{key['task']}-{name}"
    if not folder.exists():
        with _alone(folder):
            if not folder.exists():
                _store(make(), folder, whole)
    return Prepared.open(folder)


def _code(task: type) -> str:
    """Hash of the files that define the task and the readers beside this one: other code, other data."""
    paths = {Path(inspect.getfile(base)) for base in task.__mro__ if base.__module__.startswith("harness.tasks")}
    paths |= {*Path(__file__).parent.glob("read_*.py"), *map(Path(__file__).with_name, ("text.py", "floors.py"))}
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(paths))).hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _store(content: Content, folder: Path, whole: dict[str, Any]) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for split in SPLITS:
            check_examples(content.splits[split], content.shape, f"{whole['key']['task']}, {split} split")
            _write(content.splits[split], temporary / f"{split}.arrow")
        about = {"shape": asdict(content.shape), "floor": content.floor, "facts": content.facts, "of": whole}
        with (temporary / "facts.json").open("w") as file:
            json.dump(about, file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
