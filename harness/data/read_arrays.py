"""Arrays of an npz file of a user's own: plain numbers, nothing pickled, nothing larger than it says."""

from __future__ import annotations

import io
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from harness.data import archives
from harness.errors import Fault, UserError

SUFFIX = ".npy"
MALFORMED = (ValueError, TypeError, EOFError, SyntaxError, TokenError, OverflowError, RecursionError, MemoryError)
"""What numpy raises of a header that is no header, or that promises more than follows."""


def plain_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file by name; UserError where it is something else.

    The zip is read under the limits of `archives`, because numpy trusts what it unpacks.
    """
    allowed = "npz as numpy.savez writes it, arrays of numbers"
    if not path.is_file():
        raise UserError(Fault("no file there", where=str(path), allowed=allowed))
    whole = path.read_bytes()
    if whole[:2] != b"PK":
        raise UserError(Fault("not an npz file", where=str(path), allowed=allowed))
    found: dict[str, np.ndarray] = {}
    for member, content in archives.members(whole, where=str(path)).items():
        name = member.removesuffix(SUFFIX)
        try:
            found[name] = _array(content)
        except MALFORMED as error:
            raise UserError(
                Fault(f"not a plain array: {error}", where=f"{path}, array {name!r}", allowed=allowed)
            ) from None
    return found


def _array(content: bytes) -> np.ndarray:
    """Return the one array of a npy file. ValueError and others of MALFORMED."""
    array: Any = np.load(io.BytesIO(content), allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise ValueError(f"it holds {getattr(array, 'dtype', type(array).__name__)}")
    return array
