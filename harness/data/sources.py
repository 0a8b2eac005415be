"""Data sets of others: where each file comes from, what it must hold, and the verified copy on this machine.

Nothing of them is part of the project: `sets/<name>.yaml` states URL, sha256, size, licence and citation. A file is
taken from `HARNESS_DATA_MIRROR`, a folder of local copies, or from its URL by `harness data fetch`; it is checked
before it is stored in the cache (`HARNESS_CACHE`, by default the user's).
"""

from __future__ import annotations

import gzip
import hashlib
import os
from functools import cache
from pathlib import Path

import platformdirs
import yaml
from pydantic import BaseModel, ConfigDict

from harness.errors import Fault, UserError, nearest

SETS = Path(__file__).parent / "sets"


class SourceFile(BaseModel):
    """One file: the hash and size of its content, unpacked, and where it can be had."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    bytes: int
    url: str = ""
    """Serves this content, as it is or packed with gzip."""
    comes_from: str = ""
    """Where the content was made from, if no URL serves it as it is."""
    mirror: str = ""
    """Name in a mirror, if it is another."""
    members: int = 0
    members_bytes: int = 0
    members_digest_sha256: str = ""
    canonical_sha256: str = ""


class Source(BaseModel):
    """One data set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    licence: str
    redistribute: str
    cite: str
    counts: str
    conversion: str = ""
    files: dict[str, SourceFile]


def names() -> list[str]:
    """All data sets, in order."""
    return sorted(path.stem for path in SETS.glob("*.yaml"))


@cache
def find(name: str) -> Source:
    """Return a data set by name; UserError names the nearest one."""
    path = SETS / f"{name}.yaml"
    if name not in names():
        raise UserError(Fault(f"no data set {name!r}", allowed=", ".join(names()), remedy=nearest(name, names())))
    return Source(name=name, **yaml.safe_load(path.read_text()))


def cache_folder() -> Path:
    """Folder of verified files and of what is prepared from them."""
    return Path(os.environ.get("HARNESS_CACHE") or platformdirs.user_cache_path("rnn-harness"))


def path(name: str, file: str) -> Path:
    """Return the verified copy of a file, from the cache or else the mirror; UserError if it is in neither."""
    about, place = find(name).files[file], cache_folder() / "files" / name / file
    if not place.exists():
        mirror = os.environ.get("HARNESS_DATA_MIRROR")
        packed = Path(mirror, name, about.mirror or file) if mirror else None
        if packed is None or not packed.exists():
            raise UserError(Fault(f"data set {name!r} is not on this machine", remedy=f"harness data fetch {name}"))
        content = packed.read_bytes()
        content = gzip.decompress(content) if packed.name != file and packed.suffix == ".gz" else content
        if hashlib.sha256(content).hexdigest() != about.sha256:
            raise UserError(Fault("this is not the content that is known", where=str(packed)))
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{place.name}.{os.getpid()}")
        temporary.write_bytes(content)
        temporary.rename(place)
    return place


def read(name: str, file: str) -> bytes:
    """Return the content of a file."""
    return path(name, file).read_bytes()
