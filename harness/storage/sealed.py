"""One Arrow table as the bytes of a sealed Parquet file, in which any flipped bit and any cut is noticed.

It is ordinary Parquet that any reader opens. Between its data and its footer, where the format allows a gap, it carries
the SHA-256 of all its other bytes: Parquet's own page checksums leave the page headers and the footer unprotected, so
one flipped bit there could still change a number.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_SEAL = b"harness:sha256:1"
_BLOCK = 1 << 22
_TAIL = 8  # a Parquet file ends with the length of its footer, 4 bytes, and "PAR1"


def pack(table: Any) -> bytes:
    """Return a pyarrow table as a sealed file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    pq.write_table(
        table,
        sink,
        compression="zstd",
        write_page_checksum=True,
        use_dictionary=texts if len(table) > 1 else False,  # of one row, dictionaries and statistics would be half
        write_statistics=False,
        store_schema=False,
    )
    data = sink.getvalue().to_pybytes()
    cut = len(data) - _footer_length(data)
    return data[:cut] + _SEAL + hashlib.sha256(data).digest() + data[cut:]


def unpack(data: bytes) -> Any:
    """Return the table in a sealed file. Raises ValueError, saying what is wrong with it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not data:
        raise ValueError("is empty")
    cut = len(data) - _footer_length(data)
    seal = cut - len(_SEAL) - hashlib.sha256().digest_size
    if data[-4:] != b"PAR1" or seal < 0 or data[seal : seal + len(_SEAL)] != _SEAL:
        raise ValueError("is cut short, altered, or was not written by harness")
    digest = hashlib.sha256(data[:seal])
    digest.update(data[cut:])
    if digest.digest() != data[seal + len(_SEAL) : cut]:
        raise ValueError("was altered: its checksum does not match")
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def check(path: Path) -> None:
    """Read a sealed file through, a block at a time, and raise ValueError, saying what is wrong with it."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL))
        cut = size - _footer_length(file.read())
        seal = cut - len(_SEAL) - hashlib.sha256().digest_size
        file.seek(max(0, seal))
        held = file.read(max(0, cut - seal))
        if not size:
            raise ValueError("is empty")
        if seal < 0 or not held.startswith(_SEAL):
            raise ValueError("is cut short, altered, or was not written by harness")
        digest = hashlib.sha256()
        for start, end in ((0, seal), (cut, size)):
            file.seek(start)
            while block := file.read(min(_BLOCK, end - file.tell())):
                digest.update(block)
        if digest.digest() != held[len(_SEAL) :]:
            raise ValueError("was altered: its checksum does not match")


def _footer_length(data: bytes) -> int:
    """Return the bytes from the footer's start to the end of a Parquet file."""
    return int.from_bytes(data[-_TAIL:-4], "little") + _TAIL


def seal(manifest: dict[str, Any]) -> str:
    """Return what plain data are sealed with as JSON, so that any altered number is noticed."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
