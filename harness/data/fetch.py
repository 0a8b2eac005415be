"""Data sets brought to this machine, and looked at again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.data import sources
from harness.data.download import Progress, download
from harness.errors import DamagedStore, Fault, UserError
from harness.storage import files

Start = Callable[[str], Progress]
"""Told what is downloaded; returns what is told how far it is."""
ELSEWHERE = (
    "set HARNESS_DATA_MIRROR to a folder that holds the content that is known; the server would send the other again"
)


def fetch(name: str, start: Start = lambda what: lambda done, whole: None) -> int:
    """Bring the files of a data set that are not here, or are damaged, into the cache; return how many those were.

    One process fetches while others wait. The cache holds what it held where it raises: UserError for content that is
    not what is known, or that no URL serves (the same command would end so again), Stopped after a cut, without a
    network or space (the same command goes on), DamagedStore for a copy in the mirror that is not what is known.
    """
    wanted = sources.find(name).files
    folder = sources.cache_folder() / "files" / name
    with files.explained(f"data set {name!r}", folder):
        files.make_folder(folder)
        lock = folder / ".lock"
        held = files.acquire(lock)
    try:
        came: dict[str, bytes] = {}
        return sum(_fetch(name, file, start, came) for file in wanted)
    finally:
        files.release(lock, held)


def _fetch(name: str, file: str, start: Start, came: dict[str, bytes]) -> bool:
    about, place = sources.find(name).files[file], sources.cached(name, file)
    if place.exists():
        if sources.sound(about, place.read_bytes()):
            return False
        place.unlink()
    if sources.mirrored(name, file):
        sources.path(name, file)
        return True
    url = about.url or about.archive
    if not url:
        what = f"no URL serves {file}: it was made from {about.comes_from or 'a copy that is no longer there'}"
        remedy = f"HARNESS_DATA_MIRROR=FOLDER with FOLDER/{name}/{about.mirror or file}, sha256 {about.sha256} unpacked"
        raise UserError(Fault(what, where=name, remedy=remedy))
    with files.explained(f"data set {name!r}", place.parent):
        files.replace(place, _come(url, about, place.parent, start(f"{name}/{file}"), came))
    return True


def _come(url: str, about: sources.SourceFile, folder: Path, progress: Progress, came: dict[str, bytes]) -> bytes:
    """Download, once if several files are in it, and check. What was kept of an earlier try may be of another version
    of the file: then once more, from its beginning."""
    part = folder / f".{hashlib.sha256(url.encode()).hexdigest()[:16]}.part"
    for kept in [True, False] if part.exists() else [False]:
        if url not in came:
            came[url] = download(url, part, progress).read_bytes()
            part.unlink()
        try:
            return _checked(about, came[url], url)
        except UserError as error:
            del came[url]
            if not kept:
                raise UserError(replace(fault, remedy=fault.remedy or ELSEWHERE) for fault in error.faults) from None
    raise AssertionError("the last try returns or raises")


def _checked(about: sources.SourceFile, data: bytes, url: str) -> bytes:
    found = hashlib.sha256(data).hexdigest()
    if about.archive_sha256 and found != about.archive_sha256:
        what = f"this is not the archive that is known: {len(data):,} bytes of sha256 {found}"
        raise UserError(Fault(what, where=url, allowed=f"sha256 {about.archive_sha256}"))
    return sources.content(about, data, url)


def verify(name: str) -> list[str]:
    """Read all copies of a data set on this machine again; return what is wrong, a line for each damaged file."""
    wrong = []
    for file, about in sources.find(name).files.items():
        place, packed = sources.cached(name, file), sources.mirrored(name, file)
        if place.exists() and not sources.sound(about, place.read_bytes()):
            wrong.append(f"{place}: altered or cut")
        if packed is not None:
            try:
                sources.copied(about, packed)
            except DamagedStore:
                wrong.append(f"{packed}: altered or cut, in the mirror")
    return wrong


def verified(names: list[str]) -> int:
    """Verify data sets; return how many are here, whole. DamagedStore names each file that is not what it should be."""
    wrong = {name: verify(name) for name in names}
    if any(wrong.values()):
        bad = " ".join(name for name, lines in wrong.items() if lines)
        every = [line for lines in wrong.values() for line in lines]
        remedy = f"  try: harness data fetch {bad.split()[0]}" + ", and so on" * (" " in bad)
        raise DamagedStore("\n".join([*every, f"{remedy}; a file of the mirror has to be copied there again"]))
    return sum(sources.here(name) for name in names)
