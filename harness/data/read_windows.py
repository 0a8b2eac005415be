"""Series as windows: rows that are read, rows that are forecast, and what repeating the last value scores on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.data.read_series import Series
from harness.errors import Fault, UserError
from harness.late import np
from harness.tasks.base import Examples

Values = Literal["levels", "offsets", "returns"]
MOST_BYTES = 1 << 30
"""Of the training windows: a row that is in many is stored in each."""


@dataclass(frozen=True)
class Scale:
    """Units of a series (C,), from its training rows alone: (value - shift) / unit, of logarithms where `values` are
    returns."""

    shift: np.ndarray
    unit: np.ndarray


@dataclass(frozen=True)
class Plan:
    """What a window is: `lookback` rows are read, and the `horizon` rows behind of the columns `due` are forecast, at
    its end or, with `each`, after each of its rows."""

    values: Values
    lookback: int
    horizon: int
    due: Sequence[int]
    each: bool
    stride: int = 1


@dataclass(frozen=True)
class Part:
    """Windows of one split of a series, and of the errors that the last value makes on them the sum of squares and the
    count."""

    inputs: np.ndarray  # (N, L, D)
    targets: np.ndarray  # (N, O), or (N, L, O)
    squares: float
    count: int


def check_size(rows: int, columns: int, plan: Plan, where: str) -> None:
    """UserError where the windows of so many training rows would take too much memory."""
    outputs = plan.horizon * len(plan.due) * (plan.lookback if plan.each else 1)
    a_row = 4 * (plan.lookback * columns + outputs)
    if (size := rows * a_row // plan.stride) > MOST_BYTES:
        what = f"training windows of {size / 2**30:.1f} GiB, {rows:,} rows from {plan.stride} to {plan.stride}"
        need = -(-rows * a_row // MOST_BYTES)
        raise UserError(Fault(what, where, f"up to {MOST_BYTES / 2**30:g} GiB", f"stride: {need}"))


def fitted(series: Series, stop: int, values: Values, columns: Sequence[str]) -> Scale:
    """Return mean and deviation of the rows before `stop`; of returns the deviation of one, and no mean, so that an
    answer of 0 repeats the last value. UserError names a column that cannot be scaled."""
    known = logarithms(series, columns).values[:stop] if values == "returns" else series.values[:stop]
    known = np.diff(carried(known), axis=0) if values == "returns" else known
    some = ~np.isnan(known).all(0)
    unit = np.zeros(known.shape[1])
    unit[some] = np.nanstd(known[:, some], axis=0)
    if (unit < 1e-12).any():
        column = columns[int((unit < 1e-12).argmax())]
        what = f"column {column!r} does not change in the {stop:,} rows of the training split"
        raise UserError(Fault(what, where=series.name, allowed="values that change", remedy="other columns"))
    return Scale(np.zeros_like(unit) if values == "returns" else np.nanmean(known, axis=0), unit)


def logarithms(series: Series, columns: Sequence[str]) -> Series:
    """The same in logarithms; UserError where a value is not above 0."""
    wrong = series.values <= 0
    if wrong.any():
        row, column = np.unravel_index(wrong.argmax(), wrong.shape)
        what = f"row {row + 1}: {series.values[row, column]:g} in column {columns[int(column)]!r} has no return"
        raise UserError(Fault(what, where=series.name, allowed="values above 0", remedy="values: levels"))
    return Series(series.name, series.times, np.log(series.values))


def carried(values: np.ndarray) -> np.ndarray:
    """Values (R, C) with each that is missing as the last one known in its column; NaN before the first."""
    there = ~np.isnan(values)
    last = np.maximum.accumulate(np.where(there, np.arange(len(values))[:, None], -1), axis=0)
    return np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), axis=0), np.nan)


def readable(series: Series, scale: Scale, values: Values, columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return what a model reads of each row, and its scaled values, NaN where one is missing (R, C)."""
    raw = logarithms(series, columns).values if values == "returns" else series.values
    scaled = (raw - scale.shift) / scale.unit
    last = carried(scaled)
    return (np.diff(last, axis=0, prepend=last[:1]) if values == "returns" else last), scaled


def known_from(series: Series) -> int:
    """The first row at which every column has had a value."""
    return int(np.isnan(carried(series.values)).any(1).sum())


def windows(read_RC: np.ndarray, scaled_RC: np.ndarray, first: int, start: int, stop: int, plan: Plan) -> Part:
    """Return the windows of one split of a series: forecasts of rows from `start` to before `stop`, each made once.

    `start` is 0 for training, whose windows begin every `stride` rows, and with `each` there ask after all their rows.
    What a later split reads of the rows before it are inputs only. With `each` a forecast there is made in the second
    half of a window, so from half of `lookback` at least.
    """
    length, steps = plan.lookback, plan.horizon
    origins = np.arange(max(start - 1, first + length - 1), stop - steps)  # last row that is read
    half = max(1, length // 2)
    ends = origins[:: plan.stride] if not start else origins[::-1][::half][::-1] if plan.each else origins
    rows = ends[:, None] - length + 1 + np.arange(length)
    inputs = read_RC[rows]
    if plan.values == "offsets":
        inputs = inputs - inputs[:, :1]
    asked = rows if plan.each else ends
    last = carried(scaled_RC)[asked][..., None, list(plan.due)]
    wanted = scaled_RC[asked[..., None] + 1 + np.arange(steps)][..., list(plan.due)]
    if plan.each and start and len(ends):
        late = (rows >= origins[0]) & (np.arange(length) >= length - half)
        wanted = np.where(late[:, :, None, None], wanted, np.nan)
    change = wanted - last
    targets = change if plan.values != "levels" else wanted
    targets = targets.reshape(*asked.shape, steps * len(plan.due)).astype(np.float32)
    some = ~np.isnan(targets).all(axis=tuple(range(1, targets.ndim)))
    squares, count = float(np.nansum(change**2)), int(np.isfinite(change).sum())
    return Part(inputs[some].astype(np.float32), targets[some], squares, count)


def joined(parts: Sequence[Part], name: str, plan: Plan) -> tuple[Examples, float]:
    """Join the windows of all series; return them and the mean squared error of the last value. UserError where there
    is none."""
    if not any(len(part.inputs) for part in parts):
        what = f"no row to forecast from {plan.lookback} rows, {plan.horizon} ahead"
        raise UserError(Fault(what, where=name, allowed="more rows than lookback and horizon together",
                              remedy="a smaller lookback or horizon"))  # fmt: skip
    inputs = np.concatenate([part.inputs for part in parts])
    targets = np.concatenate([part.targets for part in parts])
    error = sum(part.squares for part in parts) / sum(part.count for part in parts)
    return Examples(inputs, targets, np.full(len(inputs), plan.lookback)), error
