"""Data sets of others: where each file comes from, what it must hold, and the verified copy on this machine.

Nothing of them is part of the project: `sets/<name>.yaml` states URL, sha256, size, licence and citation. A file is
taken from `HARNESS_DATA_MIRROR`, a folder of local copies, or from its URL by `harness data fetch`; it is checked
before it is stored in the cache (`HARNESS_CACHE`, by default the user's), and each time it is read.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import platformdirs
import yaml
from pydantic import BaseModel, ConfigDict

from harness.data import archives
from harness.errors import DamagedStore, Fault, UserError, nearest
from harness.storage import files

SETS = Path(__file__).parent / "sets"


class SourceFile(BaseModel):
    """One file: the hash and size of its content, unpacked, and where it can be had."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    bytes: int
    url: str = ""
    """Serves this content, as it is or packed with gzip."""
    archive: str = ""
    """URL of an archive that holds it, if it is not served by itself."""
    archive_sha256: str = ""
    keep: str = ""
    """Pattern of names in that archive; what its groups catch, joined by "/", is the name here."""
    comes_from: str = ""
    """Where the content was made from, if no URL serves it."""
    mirror: str = ""
    """Name in a mirror, if it is another."""
    members: int = 0
    """Of a file that is itself an archive: then what counts is what it holds, not how that is packed."""
    members_bytes: int = 0
    members_digest_sha256: str = ""
    """`archives.digest` of the members."""


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


def cached(name: str, file: str) -> Path:
    """Where the verified copy of a file lies, or will."""
    return cache_folder() / "files" / name / file


def mirrored(name: str, file: str) -> Path | None:
    """The copy in HARNESS_DATA_MIRROR, if there is one."""
    folder, about = os.environ.get("HARNESS_DATA_MIRROR"), find(name).files[file]
    found = Path(folder, name, about.mirror or file) if folder else None
    return found if found is not None and found.is_file() else None


def here(name: str, files: Iterable[str] = ()) -> bool:
    """Whether these files of a data set, or else all, are on this machine."""
    return all(cached(name, file).exists() or mirrored(name, file) for file in files or find(name).files)


def absent(name: str) -> Fault:
    """What to say where a data set is not here."""
    remedy = f"harness data fetch {name}, or set HARNESS_DATA_MIRROR to a folder that holds a copy in {name}/"
    return Fault(f"data set {name!r} is not on this machine", remedy=remedy)


def path(name: str, file: str) -> Path:
    """Return the verified copy of a file, from the cache or else the mirror; UserError if it is in neither,
    DamagedStore if the mirror's is not what is known."""
    place = cached(name, file)
    if not place.exists():
        packed = mirrored(name, file)
        if packed is None:
            raise UserError(absent(name))
        with files.explained(f"data set {name!r}", place.parent):
            files.replace(place, copied(find(name).files[file], packed))
    return place


def copied(about: SourceFile, packed: Path) -> bytes:
    """Return the known content of a copy in the mirror; DamagedStore if it is another, as of a copy in the cache."""
    try:
        return content(about, packed.read_bytes(), str(packed))
    except UserError as error:
        remedy = "copy it into the mirror again, or leave HARNESS_DATA_MIRROR unset"
        raise DamagedStore("\n".join(str(replace(fault, remedy=remedy)) for fault in error.faults)) from None


def read(name: str, file: str) -> bytes:
    """Return the content of a file; DamagedStore if it no longer is what was stored."""
    place, about = path(name, file), find(name).files[file]
    data = place.read_bytes()
    if not sound(about, data):
        raise DamagedStore(f"{place}: the cached file was altered or cut\n  try: harness data fetch {name}")
    return data


def sound(about: SourceFile, data: bytes) -> bool:
    """Whether this is the content that is known; of an archive, whatever way it is packed."""
    if hashlib.sha256(data).hexdigest() == about.sha256:
        return True
    try:
        return bool(about.members_digest_sha256) and _right(about, archives.members(data, None, *_limits(about)))
    except UserError:
        return False


def content(about: SourceFile, data: bytes, where: str) -> bytes:
    """Return the known content in what came: as it is, packed with gzip, or in an archive. UserError if it is not."""
    if sound(about, data):
        return data
    if data[:2] == b"\x1f\x8b" and (unpacked := _gunzip(data, about.bytes)) is not None and sound(about, unpacked):
        return unpacked
    if about.archive and data[:2] in (b"PK", b"\x1f\x8b") and (inside := _inside(about, data, where)) is not None:
        return inside
    what = f"this is not the content that is known: {len(data):,} bytes of sha256 {hashlib.sha256(data).hexdigest()}"
    raise UserError(Fault(what, where=where, allowed=f"{about.bytes:,} bytes of sha256 {about.sha256}"))


def _inside(about: SourceFile, data: bytes, where: str) -> bytes | None:
    """The file, or the members that it is made of, in a larger archive; None if they are not what is known."""

    def keep(name: str) -> str | None:
        match = re.fullmatch(about.keep, name)
        return None if match is None else "/".join(match.groups()) or name

    found = archives.members(data, keep, *_limits(about), where=where)
    if about.members_digest_sha256:
        return archives.pack(found) if _right(about, found) else None
    return next((inside for inside in found.values() if sound(about, inside)), None)


def _right(about: SourceFile, found: dict[str, bytes]) -> bool:
    return len(found) == about.members and archives.digest(found) == about.members_digest_sha256


def _limits(about: SourceFile) -> tuple[int, int]:
    """Bytes that may be unpacked, and members that an archive may list, around the ones that are wanted."""
    return about.members_bytes or about.bytes, archives.MOST_MEMBERS


def _gunzip(data: bytes, most: int) -> bytes | None:
    """Unpack, but no more than one byte too many; None where it is no whole gzip file."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            return file.read(most + 1)
    except (OSError, EOFError, zlib.error):
        return None
