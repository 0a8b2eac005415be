"""Object stores, s3:// and gs://, by pyarrow's filesystems: names that are read and written much like a Path.

    s3://bucket/prefix                                    AWS, region and credentials found as its own tools find them
    s3://bucket/prefix?endpoint_override=HOST:9000&scheme=http    another server that speaks S3
    gs://bucket/prefix

An object appears whole or not at all: a PUT is atomic, and so is the end of an upload in parts. There are no folders to
make and nothing to sync. Credentials never stand in an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from harness import redact
from harness.errors import Fault, UserError, nearest

SETTINGS = {"s3": ("region", "endpoint_override", "scheme"), "gs": ("endpoint_override", "scheme", "anonymous")}
"""What may stand behind the ? of an address."""
WAIT = 5.0
"""Seconds for a connection; it is tried three times."""
ALLOWED = "a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"
_KEYS = "AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS, or the role of this machine"
_MEANT = (
    ("NO_SUCH_BUCKET|bucket does not exist|Bucket .* not found", "there is no such bucket", "make it"),
    ("ACCESS_DENIED|FORBIDDEN|403|INVALID_ACCESS_KEY|SIGNATURE|EXPIRED_TOKEN|INVALID_CLIENT_TOKEN|UNAUTHENTICATED|401"
     "|PERMISSION_DENIED|credential",
     "access is denied", f"credentials that may list, read, write and delete there: {_KEYS}"),
    ("NETWORK_CONNECTION|connect|timed? ?out|resolve|UNAVAILABLE|SLOW_DOWN", "it does not answer",
     "look at the address and the network; another server than the maker's: ?endpoint_override=HOST:PORT"),
)  # fmt: skip


class ObjectError(UserError, OSError):
    """An object store refuses, or does not answer. Nothing that it says is a secret."""

    def __init__(self, path: ObjectPath, said: str) -> None:
        said = redact.text(" ".join(said.split()))
        what, remedy = next(((w, r) for sign, w, r in _MEANT if re.search(sign, said, re.IGNORECASE)), (said[:300], ""))
        super().__init__(Fault(what, str(path), remedy=remedy))
        self.what, self.remedy = what, remedy


class Listed(NamedTuple):
    """A name in a listing."""

    name: str
    is_dir: bool
    stamp: tuple[int, int]  # changes when the object is written anew


@dataclass(frozen=True, order=True)
class ObjectPath:
    """A name in an object store; `key` begins with the bucket."""

    kind: str
    key: str
    query: str = ""

    def __str__(self) -> str:
        return f"{self.kind}://{self.key}" + (f"?{self.query}" if self.query else "")

    def __truediv__(self, name: str | PurePosixPath) -> ObjectPath:
        return replace(self, key=str(PurePosixPath(self.key) / name))

    @property
    def name(self) -> str:
        """The last part."""
        return PurePosixPath(self.key).name

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return PurePosixPath(self.key).stem

    @property
    def suffix(self) -> str:
        """What ends the last part, with its dot."""
        return PurePosixPath(self.key).suffix

    @property
    def parent(self) -> ObjectPath:
        """What it lies in."""
        return replace(self, key=str(PurePosixPath(self.key).parent))

    def with_name(self, name: str) -> ObjectPath:
        """Return its neighbour of another name."""
        return replace(self, key=str(PurePosixPath(self.key).with_name(name)))

    def with_suffix(self, suffix: str) -> ObjectPath:
        """Return its neighbour of another suffix."""
        return replace(self, key=str(PurePosixPath(self.key).with_suffix(suffix)))

    def relative_to(self, other: ObjectPath) -> PurePosixPath:
        """Return the way here from another name."""
        return PurePosixPath(self.key).relative_to(other.key)

    def is_relative_to(self, other: ObjectPath) -> bool:
        """Whether it lies there."""
        return (self.kind, self.query) == (other.kind, other.query) and PurePosixPath(self.key).is_relative_to(
            other.key
        )

    def resolve(self) -> ObjectPath:
        """Return itself: there are no links."""
        return self

    def is_symlink(self) -> bool:
        """Never."""
        return False

    def exists(self) -> bool:
        """Whether there is such an object, or one below that name."""
        return self._type() != "NotFound"

    def is_file(self) -> bool:
        """Whether there is such an object."""
        return self._type() == "File"

    def is_dir(self) -> bool:
        """Whether an object lies below that name. Unlike the others it tells a bucket that is not there."""
        return bool(self.listed())

    def _type(self) -> str:
        with asked(self) as system:
            return system.get_file_info(self.key).type.name

    def listed(self) -> list[Listed]:
        """Return what lies directly below, by name; nothing where nothing does."""
        from pyarrow.fs import FileSelector, FileType

        try:
            with asked(self) as system:
                found = system.get_file_info(FileSelector(self.key))
        except FileNotFoundError:
            return []
        stamps = [(one.mtime_ns or 0, one.size or 0) for one in found]
        kinds = [one.type == FileType.Directory for one in found]
        return sorted(map(Listed, [one.base_name for one in found], kinds, stamps))

    def iterdir(self) -> Iterator[ObjectPath]:
        """Yield what lies directly below."""
        return (self / one.name for one in self.listed())

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """Yield what lies below and fits, part by part."""
        first, _, rest = pattern.partition("/")
        for one in self.listed():
            if fnmatchcase(one.name, first):
                yield from [self / one.name] if not rest else (self / one.name).glob(rest) if one.is_dir else []

    def rglob(self, pattern: str) -> Iterator[ObjectPath]:
        """Yield all that lies below, at any depth, and whose name fits."""
        for one in self.listed():
            if fnmatchcase(one.name, pattern):
                yield self / one.name
            if one.is_dir:
                yield from (self / one.name).rglob(pattern)

    def read_bytes(self) -> bytes:
        """Return what the object holds. Raises FileNotFoundError."""
        with asked(self) as system, system.open_input_stream(self.key) as stream:
            return stream.read()

    def write_bytes(self, data: bytes) -> None:
        """Write the object; it appears at the end, whole. Only a `close` after all was written makes it appear."""
        with asked(self) as system:
            stream = system.open_output_stream(self.key)
            stream.write(data)
            stream.close()

    def unlink(self) -> None:
        """Remove the object. Raises FileNotFoundError."""
        with asked(self) as system:
            system.delete_file(self.key)

    def remove_tree(self) -> None:
        """Remove all objects below that name."""
        with asked(self) as system:
            system.delete_dir(self.key)


Place = Path | ObjectPath
"""Where files lie: a folder of this machine, or a name in an object store."""


def place(text: str | Path) -> Place:
    """Return the place that a user names. Raises UserError; what may be a secret is not repeated."""
    if isinstance(text, Path) or "://" not in text:
        return Path(text)
    parts = urlsplit(text)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if parts.scheme not in SETTINGS:
        raise UserError(Fault(f"results cannot lie at {shown}", "", ALLOWED, nearest(parts.scheme, SETTINGS)))
    if "@" in parts.netloc:
        raise UserError(Fault("credentials do not belong into an address", shown, remedy=_KEYS))
    names = [name for name in parts.path.split("/") if name]
    if not parts.netloc or ":" in parts.netloc or {".", ".."} & set(names) or parts.fragment:
        raise UserError(Fault("not a bucket and a prefix", shown, ALLOWED))
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if name not in (known := SETTINGS[parts.scheme]):
            remedy = f"credentials come from {_KEYS}" if redact.text(f"?{name}=12345678") != f"?{name}=12345678" else ""
            raise UserError(Fault(f"no setting {name!r} of an address", shown, ", ".join(known), remedy))
    return ObjectPath(parts.scheme, "/".join([parts.netloc, *names]), parts.query)


def on_disk(folder: Place) -> Path:
    """Return where on this machine logs and W&B runs lie, for which an object store is no place: of a folder, in it."""
    return folder if isinstance(folder, Path) else Path("results") / folder.name


@contextmanager
def asked(path: ObjectPath) -> Iterator[Any]:
    """Yield pyarrow's filesystem for a path; what it says goes into words of ours. FileNotFoundError passes."""
    try:
        yield _system(path.kind, path.key.split("/")[0], path.query)
    except (FileNotFoundError, ObjectError):
        raise
    except (OSError, ValueError) as error:
        raise ObjectError(path, str(error)) from None


@cache
def _system(kind: str, bucket: str, query: str) -> Any:
    """Return a filesystem; one for all of a process."""
    import os

    from pyarrow import fs

    given = dict(parse_qsl(query))
    if kind == "gs":
        anonymous = given.pop("anonymous", "") == "true"
        return fs.GcsFileSystem(anonymous, retry_time_limit=timedelta(seconds=4 * WAIT), **given)
    named = [given.get("region"), given.get("endpoint_override"), *map(os.environ.get, _SAYS_WHERE)]
    if not any(named):
        given["region"] = fs.resolve_s3_region(bucket)
    return fs.S3FileSystem(connect_timeout=WAIT, allow_delayed_open=True, background_writes=False, **given)


_SAYS_WHERE = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
