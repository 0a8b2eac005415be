"""Cells of the page's tables; and the rows of a task that has thousands, packed: the page stays small and fluid."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Sequence
from typing import Any

from harness.report.columns import Column
from harness.report.table import MachineTable, Row, TaskGroup

_BADGES = {
    "beats_floor": {"no better than floor": "warn", "better": "good"},
    "against_best": {"worse": "warn"},
    "verdict": {"diverged": "bad", "exploding": "bad", "vanishing": "warn", "stable": "good"},
}
"""Colour of a cell by its column and the worst word in it. The text says the same, for who sees no colour."""


def cell(column: Column, row: Row) -> tuple[str, str, str]:
    """Return text, sort key ("" sorts last) and badge colour of one cell."""
    text, value = column.text(row), column.sort(row)
    if isinstance(value, float):
        value = "" if value != value else f"{value:.9g}".replace("inf", "Infinity")
    badge = ""
    if column.name in _BADGES:
        badge = next((color for word, color in _BADGES[column.name].items() if word in text), "")
    return text, str(value), badge


def facets(group: TaskGroup, row: Row) -> str:
    """Return what a row is filtered by, as JSON."""
    return json.dumps({"task": [group.name], "cell": [row.variant.cell], "verdict": sorted(row.verdicts)})


def packed(table: MachineTable, shown: Sequence[Sequence[Column]]) -> str:
    """Return every row of some tables of a machine, by columns, as gzipped JSON in base64.

    {"sizes": rows of each task, "facets": a column, "tables": [[a column, ...], ...]}; a column is {"values": its
    different values, "rows": the place of each row's value}, without "rows" where every row has a value of its own. A
    value is [text], [text, sort key] or [text, sort key, badge]; a sort key of nine figures is enough.
    """
    rows = [(group, row) for group in table.groups for row in group.rows]
    sizes = _json([len(group.rows) for group in table.groups])
    sides = _json(_coded((facets(group, row) for group, row in rows), always=True))
    columns = {column.name: column for found in shown for column in found}  # those of one name show the same
    texts = {  # a column at a time: together their cells would be the most of what a report has in memory
        name: _json(_coded(_short(*cell(column, row)) for _, row in rows)) for name, column in columns.items()
    }
    tables = ",".join(f"[{','.join(texts[column.name] for column in found)}]" for found in shown)
    text = f'{{"sizes":{sizes},"facets":{sides},"tables":[{tables}]}}'
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), 6, mtime=0)).decode()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _short(text: str, sort: str, badge: str) -> tuple[str, ...]:
    """A cell without what follows from its text."""
    return (text, sort, badge) if badge else (text,) if sort == text else (text, sort)


def _coded(values: Iterable[Any], always: bool = False) -> dict[str, Any]:
    places: dict[Any, int] = {}
    found = [places.setdefault(value, len(places)) for value in values]
    return {"values": list(places), "rows": found} if always or len(places) < len(found) else {"values": list(places)}
