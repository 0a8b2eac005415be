"""The report as Parquet: one row a variant, with the CSV's columns in full and typed, and one row a trial."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

from harness.record import RAW, Record, arrow_schema
from harness.report.build import Report
from harness.report.to_csv import numbers
from harness.report.words import clean
from harness.storage.held import gathered

AT_ONCE = 2_000
"""Trials that are turned into columns at a time."""


def render_variants(report: Report) -> bytes:
    """Return the file of the variants. A setting that is a number for one and a word for another is text for all."""
    import pyarrow as pa

    return _file([pa.table({name: _column(values) for name, values in numbers(report).items()})])


def render_trials(report: Report) -> bytes:
    """Return the file of the trials: every field of their records that tables are made of, with the task's and the
    variant's name in the report; raw times and norms of each update stay in the records."""
    placed = [(g.name, row.label, r) for t in report.machines for g in t.groups for row in g.rows for r in row.records]
    return _file(_trials(placed[start : start + AT_ONCE]) for start in range(0, max(1, len(placed)), AT_ONCE))


def _trials(placed: Sequence[tuple[str, str, Record]]) -> Any:
    import pyarrow as pa

    records = [record for _, _, record in placed]
    columns = {"report_task": pa.array([task for task, _, _ in placed], pa.string())}
    columns["variant"] = pa.array([label for _, label, _ in placed], pa.string())
    for field in arrow_schema():
        if field.name not in RAW:
            columns[field.name] = _field(records, field.name, field.type)
    return pa.table(columns)


def _file(parts: Iterable[Any]) -> bytes:
    """Tables one after the other as one file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink, rest = pa.BufferOutputStream(), iter(parts)
    first = next(rest)
    with pq.ParquetWriter(sink, first.schema, compression="zstd", write_page_checksum=True) as writer:
        writer.write_table(first)
        for part in rest:
            writer.write_table(part)
    return sink.getvalue().to_pybytes()


def _column(values: Sequence[Any]) -> Any:
    """Values as the narrowest type that holds all of them; what is not known is null."""
    import pyarrow as pa

    known = [value for value in values if value is not None and value != ""]
    for kind, arrow in ((bool, pa.bool_()), (int, pa.int64()), (float, pa.float64()), (list, pa.list_(pa.float64()))):
        allowed: tuple[type, ...] = (int, float) if kind is float else (kind,)
        if known and all(type(value) in allowed for value in known):
            return pa.array([None if v is None or v == "" else v for v in values], arrow)
    return pa.array(list(_texts(values)), pa.string())


def _texts(values: Iterable[Any]) -> Iterable[str | None]:
    return (None if value is None or value == "" else clean(value) for value in values)


def _field(records: Sequence[Record], name: str, kind: Any) -> Any:
    """A field of records; text with half a surrogate pair, which Arrow does not take, is escaped."""
    import pyarrow as pa

    if pa.types.is_list(kind) and records and (held := gathered(records, name)):
        ends, numbers = held
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(numbers, kind.value_type), kind)
    found = list(map(attrgetter(name), records))
    try:
        return pa.array(found, kind)
    except UnicodeEncodeError:
        return pa.array([v.encode("utf-8", "backslashreplace").decode() if v else v for v in found], kind)
