"""Records as rows of Parquet: the bytes of a record's file, and tables of many rows back into Records."""

from __future__ import annotations

import dataclasses
import gc
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.record import SCHEMA_VERSION, Record, arrow_schema
from harness.storage import sealed
from harness.storage.held import Column
from harness.storage.objects import ObjectError, Place

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
    numbers of a column are one object, and so are all empty lists: memory holds them, nobody changes them. Lists of
    numbers stay in the table (held.py).
    """
    held: dict[str, Column] = {}
    with _no_garbage():
        made = [Record.__new__(Record) for _ in range(len(table))]
        for field in dataclasses.fields(Record):
            column: Iterable[Any]
            if field.name == "schema_version":
                column = itertools.repeat(SCHEMA_VERSION)
            elif field.name in table.column_names:
                array = table[field.name].combine_chunks()
                if found := _lists(array):
                    held[field.name] = found
                    continue
                column = _values(array)
            else:
                column = itertools.repeat(field.default if field.default_factory is dataclasses.MISSING else _EMPTY)
            _fill(made, field.name, column)
        _fill(made, "_columns", itertools.repeat(held))
        _fill(made, "_row", itertools.count())
    return made


def _fill(made: Iterable[Record], name: str, values: Iterable[Any]) -> None:
    """Fill a slot, as __init__ does, ten times as fast."""
    deque(map(getattr(Record, name).__set__, made, values), maxlen=0)


def _lists(array: Any) -> Column | None:
    """Lists of numbers as they lie in a table; None where these are none, or some are missing."""
    import pyarrow as pa

    kind = array.type
    if not pa.types.is_list(kind) or array.null_count:
        return None
    numbers = array.flatten()
    if not (pa.types.is_integer(numbers.type) or pa.types.is_floating(numbers.type)) or numbers.null_count:
        return None
    starts = array.offsets.to_numpy()
    return numbers.to_numpy(), (starts - starts[0]).tolist()


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
        indices = coded.indices.fill_null(-1) if array.null_count else coded.indices
        return [words[i] for i in indices.to_numpy().tolist()]
    if array.null_count:
        return array.to_pylist()
    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        flat, ends = _values(array.flatten()), array.offsets.to_numpy().tolist()
        return [flat[start - ends[0] : end - ends[0]] or _EMPTY for start, end in itertools.pairwise(ends)]
    if pa.types.is_int64(kind) or pa.types.is_float64(kind):
        coded = array.view(pa.int64()).dictionary_encode()  # bit by bit
        if 2 * len(coded.dictionary) > len(array):
            return array.to_numpy().tolist()
        numbers = coded.dictionary.view(kind).to_numpy().tolist()
        return [numbers[i] for i in coded.indices.to_numpy().tolist()]
    return array.to_pylist()


def _storable(value: Any) -> Any:
    """Return a value that Arrow takes: text with half a surrogate pair, from an odd file name, is escaped."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
