"""Time series: what comes next of what was measured."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from harness.data import own, read_series, read_windows
from harness.data.prepared import Content
from harness.data.read_named_series import FILES, TARGETS, bounds, named
from harness.data.read_series import Series
from harness.data.read_windows import Part, Plan, Scale, Values
from harness.errors import Fault, UserError
from harness.late import np
from harness.tasks._prepared import PreparedTask
from harness.tasks.base import SPLITS, Examples, Shape

Found = tuple[list[Series], list[str]]
"""Series, and the names of their columns."""
MOST = 24
"""Numbers of a column that are told."""


class Timeseries(PreparedTask):
    """Time series: forecast the rows that follow (mean squared error, and skill against the last value repeated).

    `etth1`, `etth2`: hourly loads and oil temperature (OT) of a transformer, Zhou et al., "Informer", AAAI 2021, with
    their 12, 4 and 4 months. `djia30`: daily prices of 31 companies; training ends with 2014, validation with 2015.
    Of statsmodels, and always there: `sunspots` (yearly), `co2` (weekly), `elnino` (monthly), `macrodata` (quarterly,
    12 columns), split 70 : 10 : 20 in order. Or your own: a CSV with a header, a date and numbers, or a folder of such
    files with the same columns, each a series; split as these.
    Values are standardised by the training rows of each series, and so is the error. A forecast of validation or test
    reads rows of the split before it, as published ones do, and each is scored once. The floor repeats the last value.
    `values`: `levels` are read and forecast as they are, as published. `offsets`: a window is read from its first value
    on, and the change from the last one is forecast, so that 0 repeats it (as NLinear, Zeng et al., AAAI 2023).
    `returns`: changes of logarithms are read, and their sum to come is forecast, in deviations of one change; for
    prices, whose level never comes back.
    Many-to-many forecasts after each row; in validation and test after those of the second half of windows that overlap
    by half, so that the same forecasts are scored, and the floor is that of many-to-one.
    """

    data: str = "sunspots"
    target: str = Field("", description="columns that are forecast, such as `OT, HUFL`, or `all`; empty: the usual one")
    reads: Literal["target", "all"] = Field("target", description="columns that are read")
    values: Values = Field("levels", description="what is read and forecast: see the task")
    mapping: Literal["many-to-one", "many-to-many"] = Field(  # type: ignore[misc]  # a setting here
        "many-to-one", description="forecast at the end of a window, or after each of its rows"
    )
    lookback: int = Field(24, ge=1, le=10_000, description="rows of a window, which are read")
    horizon: int = Field(1, ge=1, le=10_000, description="rows that are forecast at once")
    stride: int = Field(1, ge=1, le=10_000, description="rows from a training window to the next")
    date: str = Field("", description="of your own files: the column of dates; empty: the first")
    missing: Literal["carry"] | None = Field(
        None, description="of your own files: a value that is missing is read as the last, and not due; null: an error"
    )

    sets: ClassVar = FILES
    objective: ClassVar = "mse"
    metric: ClassVar = "mse"
    also: ClassVar = ("skill",)

    @model_validator(mode="after")
    def _settings_of_other_data(self) -> Timeseries:
        idle = [name for name in ("date", "missing") if getattr(self, name) != type(self).model_fields[name].default]
        if idle and not self.own:
            raise ValueError(f"{', '.join(idle)}: has no meaning for data {self.data!r}")
        return self

    @property
    def autoregressive(self) -> bool:  # type: ignore[override]
        """A forecast after each row is of rows that are read later."""
        return self.mapping == "many-to-many"

    def key(self):
        text = read_series.bundled(self.data) if self.sets.get(self.data) == () else ""
        return {**super().key(), "bundled": hashlib.sha256(text.encode()).hexdigest()}

    def prepare(self):
        series, columns = self._own() if self.own else named(self.data)
        due = self._due(columns)
        if self.reads == "target":
            series = [Series(each.name, each.times, each.values[:, due]) for each in series]
            columns, due = [columns[place] for place in due], [*range(len(due))]
        plan = Plan(self.values, self.lookback, self.horizon, due, self.mapping == "many-to-many", self.stride)
        stops = [bounds(self.data, each) for each in series]
        read_windows.check_size(sum(stop for stop, _, _ in stops), len(columns), plan, self.data)
        scales, parts = dict[str, list[list[float]]](), [list[Part]() for _ in SPLITS]
        for each, ends in zip(series, stops, strict=True):
            scale = read_windows.fitted(each, ends[0], self.values, columns)
            scales[each.name] = [scale.shift.tolist(), scale.unit.tolist()]
            rows = read_windows.readable(each, scale, self.values, columns)
            first = read_windows.known_from(each)
            for part, start, stop in zip(parts, (0, *ends), ends, strict=False):
                part.append(read_windows.windows(*rows, first, start, stop, plan))
        joined = {
            split: read_windows.joined(part, f"{self.data}, {split} split", plan)
            for split, part in zip(SPLITS, parts, strict=True)
        }
        floor = joined["test"][1]
        if not floor:
            raise UserError(Fault("the test split never changes", where=self.data, allowed="values that change"))
        shape = Shape(steps=self.lookback, features=len(columns), outputs=self.horizon * len(due))
        facts = {"columns": columns, "due": due, "scales": scales}
        return Content(shape, floor, {split: found for split, (found, _) in joined.items()}, facts)

    def _own(self) -> Found:
        """Read the user's files; the columns of the first are asked of all."""
        paths = [path for path in own.files(self.data) if path.suffix.lower() == ".csv"]
        if not paths:
            raise UserError(Fault("no CSV file", where=self.data, allowed="one *.csv, or a folder of them"))
        columns: list[str] = []
        if self.reads == "target":
            header = read_series.header(read_series.read_file(paths[0]), str(paths[0]), self.date)
            columns = header if self.target == "all" else self._named() or header[-1:]
        found = []
        for path in paths:
            series, columns = self._read(path, columns)
            found.append(series)
        if len({series.name for series in found}) < len(found):
            raise UserError(Fault("two files of one name", where=self.data, allowed="a name for each series"))
        return found, columns

    def _read(self, path: Path, columns: list[str]) -> tuple[Series, list[str]]:
        missing = not self.own or self.missing == "carry"
        return read_series.read_series(
            read_series.read_file(path), str(path), path.stem, self.date, columns, missing=missing
        )

    def _named(self) -> list[str]:
        return [name.strip() for name in self.target.split(",") if name.strip()]

    def _due(self, columns: list[str]) -> list[int]:
        """Places of the columns that are forecast."""
        names = self._named() or [TARGETS.get(self.data, columns[-1])]
        if self.target == "all":
            return [*range(len(columns))]
        wrong = [name for name in names if name not in columns]
        if wrong or len(set(names)) < len(names):
            what = f"target: no column {wrong[0]!r}" if wrong else f"target: a column twice in {self.target!r}"
            raise UserError(Fault(what, where=self.data, allowed=f"all, or some of: {', '.join(columns)}"))
        return [columns.index(name) for name in names]

    def ask(self, given):
        """The path of a CSV with the columns that were trained on: its last rows are read, what follows is forecast."""
        path, facts = Path(given).expanduser(), self.facts
        series, columns = self._read(path, facts["columns"])
        name = series.name if len(facts["scales"]) > 1 else next(iter(facts["scales"]))
        if name not in facts["scales"]:
            what, allowed = f"no series {name!r} was trained on, so its scale is not known", ", ".join(facts["scales"])
            raise UserError(Fault(what, given, f"files named as one of: {allowed}", "mv it to such a name"))
        if len(series.values) < self.lookback:
            raise UserError(Fault(f"{len(series.values)} rows", where=given, allowed=f"at least {self.lookback}"))
        scale = Scale(*map(np.array, facts["scales"][name]))
        read, _ = read_windows.readable(series, scale, self.values, columns)
        inputs = read[None, -self.lookback :]
        if not np.isfinite(inputs).all():
            raise UserError(Fault(f"no value before the last {self.lookback} rows", where=given, allowed="a first one"))
        inputs = inputs - inputs[:, :1] if self.values == "offsets" else inputs
        steps = (self.lookback,) if self.mapping == "many-to-many" else ()
        targets = np.full((1, *steps, self.shape.outputs), np.nan, np.float32)
        targets.reshape(-1, self.shape.outputs)[-1] = 0  # asked for, and not known
        return Examples(inputs.astype(np.float32), targets, np.array([self.lookback]))

    def told(self, inputs):
        """The last rows that are read, of the columns that are forecast."""
        last = f", the last {MOST}" if len(inputs) > MOST else ""
        return f"{len(inputs)} rows{last}: {self._spelt(inputs[-MOST:, self.facts['due']])}"

    def said(self, answer):
        """The forecast at the end of a window, or where it is one row ahead, those of all rows."""
        rows = answer.reshape(-1, self.horizon, len(self.facts["due"]))
        rows = rows[:, 0] if self.horizon == 1 else rows[-1:].reshape(-1, rows.shape[2])
        return self._spelt(rows[:MOST]) + " ..." * (len(rows) > MOST)

    def _spelt(self, rows: np.ndarray) -> str:
        """Values (R, C) of the due columns in their own units; changes with a sign; of several series, whose units
        differ, in deviations."""
        scales, due = list(self.facts["scales"].values()), self.facts["due"]
        shift, unit = np.array(scales[0])[:, due] if len(scales) == 1 else (np.zeros(len(due)), np.ones(len(due)))
        values, form, end = rows * unit, "{:+.4g}", ""
        if len(scales) > 1:
            end = " deviations"
        elif self.values == "levels":
            values, form = values + shift, "{:.4g}"
        elif self.values == "returns":
            values, form, end = 100 * np.expm1(values), "{:+.2f}", " %"
        texts = [" ".join(map(form.format, column)) + end for column in values.T]
        names = [f"{self.facts['columns'][place]} " if len(due) > 1 else "" for place in due]
        return "; ".join(name + text for name, text in zip(names, texts, strict=True))
