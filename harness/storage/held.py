"""Lists of numbers that stay in the columns that they were read in, until somebody asks for one.

A hundred thousand records have a million lists of some ten numbers: as Python objects they would take most of the
memory of a report and much of its time, and most of them are looked at once or never.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Column = tuple[Any, list[int]]
"""The numbers of all rows, one after the other, as a numpy array, and where each row begins; last: where they end."""


class Held:
    """Of rows of a table: an attribute that is not filled is a list in a column, made anew at each look."""

    __slots__ = ("_columns", "_row")

    _columns: Mapping[str, Column]
    _row: int

    def __getattr__(self, name: str) -> list[Any]:
        columns = None if name in Held.__slots__ else getattr(self, "_columns", None)
        if columns is None or name not in columns:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        (numbers, starts), row = columns[name], self._row
        return numbers[starts[row] : starts[row + 1]].tolist()


def gathered(rows: Sequence[Held], name: str) -> tuple[list[int], Any] | None:
    """Return a list of each row, one after the other: where each ends, and the numbers. None where some row has its
    own."""
    import numpy as np

    parts, ends, end = [], [0], 0
    try:
        for row in rows:
            numbers, starts = row._columns[name]
            first, last = starts[row._row], starts[row._row + 1]
            parts.append(numbers[first:last])
            ends.append(end := end + last - first)
    except (AttributeError, KeyError):
        return None
    return ends, np.concatenate(parts)
