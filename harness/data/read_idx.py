"""IDX, the format of MNIST: a magic number that names type and rank, sizes, then the values."""

from __future__ import annotations

import math

from harness.errors import Fault, UserError
from harness.late import np


def array(content: bytes, where: str = "") -> np.ndarray:
    """Return the bytes of an IDX file in their shape (LeCun, "The MNIST database": the file formats); UserError if it
    is not one of unsigned bytes, or is cut."""
    rank = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    sizes = np.frombuffer(content, ">u4", rank, 4) if rank and len(content) >= 4 + 4 * rank else np.zeros(0, ">u4")
    wanted = 4 + 4 * rank + math.prod(map(int, sizes))
    if not rank or len(content) != wanted:
        what = f"{len(content):,} bytes where its head says {wanted:,}" if len(sizes) else "not an IDX file of bytes"
        raise UserError(Fault(what, where=where, allowed="IDX: 0 0 8 rank, sizes of 4 bytes, then one byte a value"))
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(sizes.astype(int))
