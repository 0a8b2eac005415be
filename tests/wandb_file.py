"""Read an offline W&B run back: the only independent witness of what W&B was told.

The format is LevelDB's log: after a 7-byte header, blocks of 32 KiB hold fragments, each with CRC, length and kind.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK = 32 * 1024
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def payloads(data: bytes) -> Iterator[bytes]:
    """Yield the records of a .wandb file; a bad CRC is an error."""
    position, parts = 7, b""
    while position + 7 <= len(data):
        room = BLOCK - position % BLOCK
        if room < 7:
            position += room
            continue
        crc, size, kind = struct.unpack_from("<IHB", data, position)
        body = data[position + 7 : position + 7 + size]
        if zlib.crc32(bytes([kind]) + body) != crc:
            raise ValueError(f"bad checksum at byte {position}")
        parts = body if kind in (FULL, FIRST) else parts + body
        if kind in (FULL, LAST):
            yield parts
        position += 7 + size


def read(path: Path) -> dict[str, Any]:
    """Return run, config, history, summary and exit code of an offline run's file."""
    from wandb.proto import wandb_internal_pb2 as pb

    found: dict[str, Any] = {"config": {}, "history": [], "summary": {}, "exit": None}
    for payload in payloads(path.read_bytes()):
        record = pb.Record.FromString(payload)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found |= {"id": run.run_id, "group": run.run_group, "name": run.display_name, "tags": list(run.tags)}
            found["config"] |= {item.key: json.loads(item.value_json) for item in run.config.update}
        elif kind == "config":
            found["config"] |= {item.key: json.loads(item.value_json) for item in record.config.update}
        elif kind == "history":
            row = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            found["history"].append(row)
        elif kind == "summary":
            items = record.summary.update
            found["summary"] |= {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
    return found
