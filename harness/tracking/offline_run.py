"""The file of an offline W&B run: whether all of it is there yet.

`Run.finish` returns when W&B's own process has heard of it, which then writes what it still holds: a copy that is made
meanwhile may end in the middle. The format is LevelDB's log: after a header of 7 bytes, blocks of 32 KiB hold
fragments, each with CRC, length and kind.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from pathlib import Path

PATIENCE = 30.0
"""Seconds that W&B has to write the end of a run."""
BLOCK, HEADER = 32 * 1024, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
END = 8
"""Records at the end of a file among which its exit code stands."""


def await_end(path: Path, patience: float = PATIENCE) -> None:
    """Return once the file of a run that was finished is whole. Raises TimeoutError where it does not get so."""
    until = time.monotonic() + patience
    while not ended(path.read_bytes()):
        if time.monotonic() > until:
            raise TimeoutError(f"W&B has not written the end of {path.name} in {patience:g} s")
        time.sleep(0.005)


def ended(data: bytes) -> bool:
    """Return whether the file ends with a whole record, and an exit code is one of the last."""
    from wandb.proto.wandb_internal_pb2 import Record

    at, record, last = HEADER, b"", deque[bytes](maxlen=END)
    while at + HEADER <= len(data):
        if (room := BLOCK - at % BLOCK) < HEADER:
            at += room
            continue
        size, kind = struct.unpack_from("<HB", data, at + 4)
        body = data[at + HEADER : at + HEADER + size]
        record = body if kind in (FULL, FIRST) else record + body
        at += HEADER + size
        if kind in (FULL, LAST) and at <= len(data):
            last.append(record)
    return at == len(data) and any(Record.FromString(each).WhichOneof("record_type") == "exit" for each in last)
