"""Records as rows of Parquet: the bytes of a record's file, and tables of many rows back into Records."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import sealed
from harness.objects import ObjectError, Place
from harness.record import SCHEMA_VERSION, Record, arrow_schema

SUFFIX = ".parquet"
_EMPTY: list[Any] = []
ALWAYS = frozenset(f.name for f in dataclasses.fields(Record) if f.default is f.default_factory) | {"schema_version"}
"""Fields without a default, which are read whatever is asked for."""


class NewerSchema(ValueError):
    """A record written by a newer harness."""


def encode(record: Record) -> bytes:
    """Return a record as the bytes of its file."""
    return sealed.pack(table_of([record]))


def table_of(records: Iterable[Record]) -> Any:
    """Return records as a pyarrow table of today's schema."""
    import pyarrow as pa

    rows = [{key: _storable(value) for key, value in record.plain().items()} for record in records]
    return pa.Table.from_pylist(rows, schema=arrow_schema())


def decode(data: bytes) -> Any:
    """Return the one-row table in a record's file. Raises ValueError, saying what is wrong with it."""
    table = sealed.unpack(data)
    check_version(table)
    return table


def check_version(table: Any) -> None:
    """Raise NewerSchema for rows that a newer harness wrote, naming both versions."""
    import pyarrow.compute as pc

    found = pc.max(table["schema_version"]).as_py() or 0
    if found > SCHEMA_VERSION:
        raise NewerSchema(
            f"has schema version {found}, newer than {SCHEMA_VERSION}, the newest that this harness reads"
        )


def read(path: Place) -> Any:
    """Return the table in a record's file; None where there is no such file; or what is wrong with it and what to do,
    as text."""
    import pyarrow as pa

    verb = "rm" if isinstance(path, Path) else "remove"
    remedy = f"\n  try: {verb} '{path}'; the same command then repeats that trial"
    try:
        table = decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except NewerSchema as err:
        return f"{path} {err}\n  try: update harness"
    except (ValueError, pa.ArrowException) as err:
        return f"{path} {err}{remedy}"
    except ObjectError:  # not one object is wrong, but the way to all of them
        raise
    except OSError as err:
        return f"{path} cannot be read: {err.strerror or err}"
    holds = table["trial_id"][0].as_py()
    return table if holds == path.name.removesuffix(SUFFIX) else f"{path} holds the record of trial {holds}{remedy}"


def records_of(tables: Sequence[Any]) -> list[Record]:
    """Return the Records in tables, in order. Tables of one set of columns are turned into Python at once."""
    import pyarrow as pa

    alike: dict[tuple[str, ...], list[int]] = {}
    for position, table in enumerate(tables):
        alike.setdefault(tuple(table.column_names), []).append(position)
    found: dict[int, list[Record]] = {}
    for positions in alike.values():
        among = iter(_records(pa.concat_tables([tables[p] for p in positions])))
        found |= {p: list(itertools.islice(among, len(tables[p]))) for p in positions}
    return [record for position in range(len(tables)) for record in found[position]]


def _records(table: Any) -> list[Record]:
    """Rows as Records of today's schema: a field that came later, or was not read, has its default.

    A column at a time: a hundred thousand rows take seconds, where a dict a row takes minutes. Equal texts and equal
    lists of whole numbers are one object, and so are all empty lists: memory holds them, nobody changes them.
    """
    columns: list[Iterable[Any]] = []
    for field in dataclasses.fields(Record):
        if field.name == "schema_version":
            columns.append(itertools.repeat(SCHEMA_VERSION))
        elif field.name in table.column_names:
            columns.append(_values(table[field.name].combine_chunks()))
        elif field.default_factory is not dataclasses.MISSING:
            columns.append(itertools.repeat(_EMPTY))
        else:
            columns.append(itertools.repeat(field.default))
    with _no_garbage():
        made = [Record.__new__(Record) for _ in range(len(table))]
        for field, column in zip(dataclasses.fields(Record), columns, strict=True):
            fill = getattr(Record, field.name).__set__  # of a slot: what __init__ does, ten times as fast
            deque(map(fill, made, column), maxlen=0)
    return made


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Records are no garbage, and looking through all of them again for every few more would take longest."""
    wanted = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if wanted:
            gc.enable()


def _values(array: Any) -> list[Any]:
    """A column as plain values."""
    import pyarrow as pa

    kind = array.type
    if pa.types.is_string(kind):
        coded = array.dictionary_encode()
        words = [*coded.dictionary.to_pylist(), None]
        return [words[i] for i in coded.indices.fill_null(-1).to_numpy().tolist()]
    if array.null_count:
        return array.to_pylist()
    if pa.types.is_list(kind) and not pa.types.is_nested(kind.value_type):
        flat, ends = _values(array.flatten()), array.offsets.to_numpy().tolist()
        if not flat:
            return [_EMPTY] * len(array)
        parts = (flat[start - ends[0] : end - ends[0]] for start, end in itertools.pairwise(ends))
        if not pa.types.is_integer(kind.value_type):
            return [part or _EMPTY for part in parts]
        known: dict[tuple[int, ...], list[int]] = {(): _EMPTY}
        return [known.setdefault(tuple(part), part) for part in parts]
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values = array.to_numpy()
        return [math.nan] * len(values) if (values != values).all() else values.tolist()
    return array.to_pylist()


def _storable(value: Any) -> Any:
    """Return a value that Arrow takes: text with half a surrogate pair, from an odd file name, is escaped."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
