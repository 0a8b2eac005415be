"""Series by name: what comes with statsmodels, ETT of transformers, and thirty shares; and how each is split."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime

from harness.data import archives, sources
from harness.data.read_series import Series, bundled, days, read_series
from harness.late import np

ETT_ROWS = (8_640, 11_520, 14_400)
"""12, 4 and 4 months of 30 days of 24 hours; the 3,020 rows behind are not used, as nobody does."""
VALID_FROM, TEST_FROM = (days(datetime(year, 1, 1)) for year in (2015, 2016))
FILES = {
    "sunspots": (),
    "co2": (),
    "elnino": (),
    "macrodata": (),
    "etth1": ("ett/ETTh1.csv",),
    "etth2": ("ett/ETTh2.csv",),
    "djia30": ("djia30/djia30.zip",),
}
TARGETS = {
    "sunspots": "SUNACTIVITY",
    "co2": "co2",
    "elnino": "temperature",
    "macrodata": "realgdp",
    "etth1": "OT",
    "etth2": "OT",
    "djia30": "Close",
}
PRICES = ("Open", "High", "Low", "Close", "Volume")


def named(data: str) -> tuple[list[Series], list[str]]:
    """Return the series of a name of FILES and the names of their columns; what is missing there is NaN."""
    if data == "djia30":
        return _shares()
    text = sources.read(*FILES[data][0].split("/")).decode() if FILES[data] else bundled(data)
    convert = {"elnino": _a_row_a_month, "macrodata": _dated}
    series, columns = read_series(convert.get(data, str)(text), data, data, missing=True)
    return [series], columns


def bounds(data: str, series: Series) -> tuple[int, int, int]:
    """Return the rows at which training, validation and test end: the published ones, or after 70, 10 and 20 %."""
    rows = len(series.times)
    if data.startswith("etth") and data in FILES:
        return ETT_ROWS
    if data == "djia30":
        return int(np.searchsorted(series.times, VALID_FROM)), int(np.searchsorted(series.times, TEST_FROM)), rows
    return int(0.7 * rows), rows - int(0.2 * rows), rows


def _shares() -> tuple[list[Series], list[str]]:
    """Daily prices and volumes of 31 companies; a price or volume of 0, on two days, is missing."""
    found = []
    for name, content in sorted(archives.members(sources.read("djia30", "djia30.zip"), None).items()):
        series, _ = read_series(content.decode(), name, name.partition("_")[0], "Date", PRICES, missing=True)
        values = np.where(series.values == 0, np.nan, series.values)
        found.append(Series(series.name, series.times, values))
    return found, list(PRICES)


def _rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def _joined(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(",".join(row) for row in rows)


def _a_row_a_month(text: str) -> str:
    """Of a line a year with its twelve months."""
    months = [(f"{row[0]}-{month:02}-01", row[month]) for row in _rows(text)[1:] for month in range(1, 13)]
    return _joined([("date", "temperature"), *months])


def _dated(text: str) -> str:
    """A date for year and quarter."""
    header, *rows = _rows(text)
    quarters = [(f"{row[0]}-{3 * int(row[1]) - 2:02}-01", *row[2:]) for row in rows]
    return _joined([("date", *header[2:]), *quarters])
