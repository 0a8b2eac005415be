"""Arrays of an npz file of a user's own: plain numbers, nothing pickled, nothing larger than it says."""

from __future__ import annotations

import io
from pathlib import Path
from tokenize import TokenError
from typing import Any

from harness.data import archives
from harness.errors import Fault, UserError
from harness.late import np

SUFFIX = ".npy"
ALLOWED = "npz as numpy.savez writes it, arrays of numbers"
MALFORMED = (ValueError, TypeError, EOFError, SyntaxError, TokenError, OverflowError, RecursionError, MemoryError)
"""What numpy raises of a header that is no header, or that promises more than follows."""


NUMBERS = "biuf"


def plain_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of numbers of an npz file by name; UserError where it is something else."""
    if not path.is_file():
        raise UserError(Fault("no file there", where=str(path), allowed=ALLOWED))
    return arrays_of(path.read_bytes(), str(path))


def arrays_of(whole: bytes, where: str, kinds: str = NUMBERS) -> dict[str, np.ndarray]:
    """Return the arrays of an npz by name, of these kinds of numpy; UserError where it is something else.

    The zip is read under the limits of `archives`, because numpy trusts what it unpacks.
    """
    if whole[:2] != b"PK":
        raise UserError(Fault("not an npz file", where=where, allowed=ALLOWED))
    found: dict[str, np.ndarray] = {}
    for member, content in archives.members(whole, where=where).items():
        name = member.removesuffix(SUFFIX)
        try:
            found[name] = _array(content, kinds)
        except MALFORMED as error:
            raise UserError(
                Fault(f"not a plain array: {error}", where=f"{where}, array {name!r}", allowed=ALLOWED)
            ) from None
    return found


def _array(content: bytes, kinds: str) -> np.ndarray:
    """Return the one array of a npy file. ValueError and others of MALFORMED."""
    array: Any = np.load(io.BytesIO(content), allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds:
        raise ValueError(f"it holds {getattr(array, 'dtype', type(array).__name__)}")
    return array
