"""Series in CSV: a date and numbers a line, in order of time, with every line that is wrong named."""

from __future__ import annotations

import csv
import importlib.util
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.data.read_pairs import MOST_FAULTS
from harness.errors import Fault, UserError, nearest
from harness.late import np

BLANK = {"", "na", "nan", "null", "none", "n/a", "-"}
"""Cells, in small letters, that say that a value is missing."""
REGULAR = 0.9
"""Share of steps of one length from which a series has a step, and every other step is a gap; shares are traded on
Mondays after Fridays, so a calendar like theirs has none, and there only a gap of many steps is one."""
LONG = 10
DATES = "ISO dates, such as 2016-07-01 or 2016-07-01 13:00; or numbers, such as 1700"


@dataclass(frozen=True)
class Series:
    """Values (R, C) of C columns in order of time, NaN where one is missing, and the time of each row: the number that
    stood there, or days since 1970, or months where there is a row a month."""

    name: str
    times: np.ndarray
    values: np.ndarray


Line = tuple[int, list[str]]
"""Its number in the file, and its cells."""


def read_series(
    text: str, where: str, name: str, date: str = "", columns: Sequence[str] = (), missing: bool = False
) -> tuple[Series, list[str]]:
    """Return a series and the names of its columns: `columns`, or all but the date, which is the first if not named.

    With `missing` a blank cell is NaN, and so is each row that a regular step leaves out. UserError lists the lines
    that are wrong: cells too many or too few, blanks, texts, numbers with commas, dates that cannot be read, come twice
    or go back, and gaps.
    """
    header, lines = _lines(text, where)
    date, columns = _named(header, where, date, columns)
    faults = [
        Fault(f"{len(cells)} cells", f"{where}:{number}", f"{len(header)}, as the header has")
        for number, cells in lines
        if len(cells) != len(header)
    ]
    whole = [(number, cells) for number, cells in lines if len(cells) == len(header)]
    values = np.full((len(whole), len(columns)), np.nan)
    for place, column in enumerate(columns):
        index = header.index(column)
        for row, (number, cells) in enumerate(whole):
            cell = cells[index].strip()
            found = [Fault(what, f"{where}:{number}", *help_) for what, *help_ in _wrong(column, cell, missing)]
            faults += found
            if not found and cell.lower() not in BLANK:
                values[row, place] = float(cell)
    numbers = [number for number, _ in whole]
    times = _times([(number, cells[header.index(date)].strip()) for number, cells in whole], where, date, faults)
    if len(times) == len(numbers):
        faults += _disorder(times, numbers, where)
    _raise(faults)
    step = _step(times)
    _raise(_gaps(times, numbers, where, step, missing))
    if missing and step:
        times, values = _filled(times, values, step)
    return Series(name, times, values), list(columns)


def header(text: str, where: str, date: str = "") -> list[str]:
    """Return the names of all columns but the date's."""
    return list(_named(_lines(text, where)[0], where, date, ())[1])


def _lines(text: str, where: str) -> tuple[list[str], list[Line]]:
    """The header's cells, and those of each line below it that is not blank."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise UserError(Fault(f"no CSV: {error}", where=f"{where}:{reader.line_num}", allowed="RFC 4180")) from None
    if len(lines) < 2:
        raise UserError(Fault("no rows", where=where, allowed="a header and a row for each time"))
    header = [cell.strip() for cell in lines[0][1]]
    faults = [f"the header names {cell!r} {header.count(cell)} times" for cell in sorted(set(header))
              if header.count(cell) > 1]  # fmt: skip
    if len(header) == 1:
        faults = ["one column", *(["cells are parted by semicolons"] if ";" in header[0] else [])]
    elif all(_number(cell) for cell in header):
        faults.append("the first line is numbers, no header")
    _raise(Fault(what, f"{where}:1", "names of a date and of columns of numbers, parted by commas") for what in faults)
    return header, lines[1:]


def _named(header: list[str], where: str, date: str, columns: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The column of dates, and those of values."""
    _raise(
        Fault(f"no column {name!r}", f"{where}:1", ", ".join(header), nearest(name, header))
        for name in (*filter(None, [date]), *columns)
        if name not in header
    )
    date = date or header[0]
    if date in columns:
        raise UserError(Fault(f"column {date!r} holds the dates", where=f"{where}:1", remedy="date: another column"))
    return date, columns or [name for name in header if name != date]


def _number(cell: str) -> bool:
    return bool(re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", cell))


def _wrong(column: str, cell: str, missing: bool) -> Iterator[tuple[str, ...]]:
    """What is wrong with a cell, what is allowed, and what to do."""
    if cell.lower() in BLANK:
        if not missing:
            yield f"column {column!r}: no value ({cell!r})", "a number", "missing: carry, which keeps the last one"
    elif not _number(cell):
        comma = re.fullmatch(r"[-+]?[\d.,\s']*\d,\d[\d.,\s']*", cell)
        remedy = "write 1234.5 for 1,234.5" if comma else ""
        yield f"column {column!r}: no number: {cell[:30]!r}", "a number, such as -1234.5 or 1e-3", remedy
    elif abs(float(cell)) > 1e300:
        yield f"column {column!r}: {cell[:30]} is too large", "up to 1e300", ""


def _times(cells: Sequence[tuple[int, str]], where: str, date: str, faults: list[Fault]) -> np.ndarray:
    """Plain numbers where the first cell is one and no date (20160701 is a date); of dates that all are of one day of
    the month, or of its last, months; otherwise days. Cells that are none of these are left out and added to `faults`.
    """
    plain = bool(cells) and _number(cells[0][1]) and not re.fullmatch(r"(19|20)\d{6}", cells[0][1])
    numbers, moments = list[float](), list[datetime]()
    for number, cell in cells:
        try:
            if plain:
                numbers.append(float(cell))
            else:
                moment = datetime.fromisoformat(cell)
                moments.append(moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None))
        except ValueError:
            faults.append(Fault(f"column {date!r}: no date: {cell[:30]!r}", where=f"{where}:{number}", allowed=DATES))
    if plain:
        return np.array(numbers)
    same = len({(moment.day, moment.time()) for moment in moments}) == 1
    last = all((moment + timedelta(1)).day == 1 for moment in moments)
    if len(moments) > 1 and (same or last):
        return np.array([12.0 * moment.year + moment.month for moment in moments])
    return np.array([days(moment) for moment in moments])


def days(moment: datetime) -> float:
    """Days since 1970."""
    return (moment - datetime(1970, 1, 1)) / timedelta(1)


def _step(times: np.ndarray) -> float:
    """The step of a regular series, or 0."""
    if len(times) < 3:
        return 0.0
    steps = np.diff(times)
    usual = float(np.median(steps))
    return usual if usual > 0 and np.isclose(steps, usual, rtol=1e-6, atol=1e-9).mean() >= REGULAR else 0.0


def _disorder(times: np.ndarray, numbers: list[int], where: str) -> Iterator[Fault]:
    """Rows whose date is that of the one before, or earlier."""
    for before, number, length in zip(numbers, numbers[1:], np.diff(times).tolist(), strict=False):
        if length == 0:
            yield Fault(f"the date of line {before} again", f"{where}:{number}", "one row for each time")
        elif length < 0:
            yield Fault(f"a date before that of line {before}", f"{where}:{number}", "rows in order of time",
                        "sort the file by its date")  # fmt: skip


def _gaps(times: np.ndarray, numbers: list[int], where: str, step: float, missing: bool) -> Iterator[Fault]:
    """Rows that do not come one step after the one before; where there is no step, long after it. With `missing` only
    those that no number of steps leads to."""
    usual = step or (float(np.median(np.diff(times))) if len(times) > 1 else 0.0)
    for before, number, length in zip(numbers, numbers[1:], np.diff(times).tolist(), strict=False):
        at, whole = f"{where}:{number}", abs(length / usual - round(length / usual)) < 1e-3
        if step and not np.isclose(length, step, rtol=1e-6, atol=1e-9) and not (missing and whole):
            remedy = "missing: carry, which fills whole steps" if whole else ""
            yield Fault(f"{length / step:.4g} steps after line {before}", at, "one step after it, as most", remedy)
        elif not step and length > LONG * usual and not missing:
            yield Fault(f"a gap {length / usual:.0f} times as long as usual after line {before}", at,
                        f"up to {LONG} times", "missing: carry, which takes the rows as they follow")  # fmt: skip


def _filled(times: np.ndarray, values: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """The same with a row of NaN for each that is left out."""
    places = np.rint((times - times[0]) / step).astype(int)
    whole = np.full((places[-1] + 1, values.shape[1]), np.nan)
    whole[places] = values
    return times[0] + step * np.arange(len(whole)), whole


def _raise(faults: Iterable[Fault]) -> None:
    found = sorted(faults, key=lambda fault: int("0" + re.sub(r".*:|\D", "", fault.where)))
    if found:
        more = [Fault(f"and {len(found) - MOST_FAULTS:,} lines more")] if len(found) > MOST_FAULTS else []
        raise UserError([*found[:MOST_FAULTS], *more])


def read_file(path: Path) -> str:
    """Return the text of a file; UserError where there is none, or it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(Fault(f"not UTF-8: {error.reason} at byte {error.start}", where=str(path))) from None
    except OSError as error:
        raise UserError(Fault(error.strerror or str(error), where=str(path), allowed="a CSV file")) from None


def bundled(name: str) -> str:
    """Return a CSV that comes with statsmodels, whose code is not run."""
    found = importlib.util.find_spec("statsmodels")
    assert found is not None and found.submodule_search_locations, "pyproject.toml names statsmodels"
    return Path(found.submodule_search_locations[0], "datasets", name, f"{name}.csv").read_text()
