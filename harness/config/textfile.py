"""A text file that a user names, read whole: a regular one, of a sensible size, in UTF-8; else a UserError says why."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NoReturn

from harness.errors import Fault, UserError, nearest


def read(path: Path, source: str, most: int) -> str:
    """Return the text of a file of at most `most` bytes; `source` names it in faults."""
    return _decode(_bytes(path, source, most), source)


def _bytes(path: Path, source: str, most: int) -> bytes:
    """Read a regular file of a sensible size; the size is asked before a byte is read."""

    def refuse(what: str, remedy: str = "") -> NoReturn:
        raise UserError(Fault(what, source, remedy=remedy))

    try:
        info = os.stat(path)
        if stat.S_ISDIR(info.st_mode):
            refuse("this is a folder, not a file", "name a YAML file in it")
        if not stat.S_ISREG(info.st_mode):  # a pipe or a device could be read for ever
            refuse("not a regular file", "save it as a file first")
        if info.st_size > most:
            refuse(f"{info.st_size:,} bytes; a benchmark file has at most {most:,}", "check the path")
        with open(path, "rb") as file:
            return file.read(most)
    except FileNotFoundError:
        refuse("no such file", nearest(source, map(str, path.parent.glob("*.yaml"))) or "harness list")
    except ValueError:  # NUL in the path
        refuse("not a possible file name")
    except OSError as error:
        refuse(f"cannot be read: {error.strerror}")


def _decode(content: bytes, source: str) -> str:
    """Decode UTF-8, with or without byte-order mark, and refuse NUL bytes."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(Fault("not UTF-8 text", f"{source}:{line}", remedy="save it as UTF-8")) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(Fault("contains a NUL byte: not a text file", f"{source}:{line}"))
    return text
