"""Members of a zip, tar or tar.gz, read into memory and never unpacked to disk; a hostile archive is refused whole.

Every name is looked at before any content is: a path that leaves the folder, a link, a device, a name that comes twice,
more members or bytes than expected. What inflates beyond what its header states is refused too.
"""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from gzip import BadGzipFile, GzipFile
from pathlib import Path, PurePosixPath
from typing import IO, Any

from harness.errors import Fault, UserError

MOST_BYTES = 1 << 30
MOST_MEMBERS = 100_000
MOST_FAULTS = 20
# what the libraries raise where bytes are missing or wrong; ValueError: a zip's offset that points before its start
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, BadGzipFile, EOFError, ValueError, zlib.error, NotImplementedError)
Keep = Callable[[str], str | None]
"""A member's name -> the name to give it, or None to leave it out."""


def members(
    archive: bytes | Path,
    keep: Keep | None = None,
    most_bytes: int = MOST_BYTES,
    most_members: int = MOST_MEMBERS,
    where: str = "",
) -> dict[str, bytes]:
    """Return name -> content of the files in an archive, in order of name; UserError says all that is wrong with it.

    `most_bytes` limits what is kept, and `most_members` everything that the archive lists. `where` names it in errors.
    """
    where = where or (str(archive) if isinstance(archive, Path) else "archive")
    with archive.open("rb") if isinstance(archive, Path) else io.BytesIO(archive) as file:
        try:
            found = _read(file, keep or str, most_bytes, most_members)
        except UserError as error:
            raise UserError(
                Fault(f.what, where=where, allowed=f.allowed, remedy=f.remedy) for f in error.faults
            ) from None
        except DAMAGED as error:
            raise UserError(Fault(f"cut short or damaged: {error}", where=where, allowed="a whole archive")) from error
    return dict(sorted(found.items()))


def digest(found: dict[str, bytes]) -> str:
    """Hash of what an archive holds, however it is packed: sha256 over lines "NAME SHA256\\n", sorted by name."""
    lines = (f"{name} {hashlib.sha256(content).hexdigest()}\n" for name, content in sorted(found.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def pack(found: dict[str, bytes]) -> bytes:
    """Return members as a zip whose bytes depend on them alone: sorted, not compressed, of one fixed date."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in sorted(found.items()):
            file.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def _read(file: IO[bytes], keep: Keep, most_bytes: int, most_members: int) -> dict[str, bytes]:
    start = file.read(4)
    file.seek(0)
    if start[:2] == b"PK":
        return _zip(file, keep, most_bytes, most_members)
    # headers of so many members, their names, and the end of the archive, beside all that they may hold
    limit = 8 * most_bytes + 4096 * most_members + (1 << 20)
    unpacked: Any = _Limited(GzipFile(fileobj=file), limit) if start[:2] == b"\x1f\x8b" else file
    return _tar(unpacked, keep, most_bytes, most_members)


def _zip(file: IO[bytes], keep: Keep, most_bytes: int, most_members: int) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as opened:
        check = _Check(keep, most_bytes, most_members)
        for info in opened.infolist():
            mode = info.external_attr >> 16
            folder = info.filename.endswith("/")  # is_dir() fails where there is no name
            kind = "" if folder or not stat.S_IFMT(mode) or stat.S_ISREG(mode) else "a link or a device"
            check.add(info.filename, info.file_size, folder, "encrypted" if info.flag_bits & 1 else kind)
        check.done()
        return {
            check.kept[name]: opened.read(info) for info in opened.infolist() if (name := info.filename) in check.kept
        }


def _tar(file: IO[bytes], keep: Keep, most_bytes: int, most_members: int) -> dict[str, bytes]:
    """Three passes: to the end, for the checksum and the closing zeros; all headers; and what is kept."""
    end = b""
    while piece := file.read(1 << 16):
        end = (end + piece)[-1024:]
    if end.strip(b"\0") or len(end) < 1024:
        raise tarfile.ReadError("it has no end")
    file.seek(0)
    check = _Check(keep, most_bytes, most_members)
    with tarfile.open(fileobj=file, mode="r:") as opened:
        for info in opened:
            plain = info.isdir() or (info.isreg() and not info.issparse())
            check.add(info.name, info.size, info.isdir(), "" if plain else "a link, a device or a file with holes")
        check.done()
        found = {}
        for info in opened:
            if info.name in check.kept and (content := opened.extractfile(info)) is not None:
                found[check.kept[info.name]] = content.read()
                if len(found[check.kept[info.name]]) != info.size:
                    raise tarfile.ReadError(f"{info.name!r} ends early")
        return found


class _Check:
    """Looks at each header of an archive and says in the end what is wrong with them."""

    def __init__(self, keep: Keep, most_bytes: int, most_members: int) -> None:
        self.keep, self.most_bytes, self.most_members = keep, most_bytes, most_members
        self.kept: dict[str, str] = {}
        self.faults: list[Fault] = []
        self.names: set[str] = set()
        self.given: set[str] = set()
        self.bytes = self.count = 0

    def add(self, name: str, size: int, folder: bool, kind: str) -> None:
        """Take one header; `kind` says why it is no plain file or folder."""
        self.count += 1
        if self.count > self.most_members:
            raise UserError(Fault(f"more than {self.most_members:,} members", allowed=f"up to {self.most_members:,}"))
        wrong = kind or unsafe(name)
        normal = str(PurePosixPath(name))
        if wrong:
            self.faults.append(Fault(f"member {name!r} is {wrong}", allowed="plain files below the archive's folder"))
        elif normal in self.names and not folder:
            self.faults.append(Fault(f"member {name!r} comes twice", allowed="each name once"))
        elif not folder and (new := self.keep(normal)) is not None:
            if new in self.given:
                self.faults.append(Fault(f"two members would be {new!r}", allowed="each name once"))
            self.kept[name] = new
            self.given.add(new)
            self.bytes += size
        self.names.add(normal)

    def done(self) -> None:
        """Raise what was found."""
        if self.bytes > self.most_bytes:
            what = f"unpacks to {self.bytes:,} bytes"
            self.faults.append(Fault(what, allowed=f"up to {self.most_bytes:,} bytes"))
        if not self.kept and not self.faults:
            self.faults.append(Fault("no file in it that is wanted"))
        if self.faults:
            raise UserError(self.faults[:MOST_FAULTS])


def unsafe(name: str) -> str:
    """Say why a name must not be used as a path below a folder; "" for one that may."""
    if not name or not name.isprintable():
        return "no name that can be printed"
    if name.startswith("/") or "\\" in name or name[1:2] == ":":
        return "an absolute path, or one of another system"
    return "a path that leaves the folder" if ".." in PurePosixPath(name).parts else ""


class _Limited(io.RawIOBase):
    """A packed file that gives up once it has unpacked more bytes than it may; each seek back starts the count anew."""

    def __init__(self, file: GzipFile, limit: int) -> None:
        self.file, self.limit = file, limit

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and offset > self.limit:
            raise UserError(Fault("unpacks to more than it may", allowed=f"up to {self.limit:,} bytes"))
        return self.file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        if size < 0 or self.file.tell() + size > self.limit:
            raise UserError(Fault("unpacks to more than it may", allowed=f"up to {self.limit:,} bytes"))
        return self.file.read(size)
