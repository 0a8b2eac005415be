"""The stability card: norms, clipping, spikes and failures, decay by layer, exponents, truncation; a row a variant."""

from __future__ import annotations

import math
from collections import defaultdict

from harness.metrics import METRICS
from harness.record import Record
from harness.report.columns import Column, counted, horizon, median_column, setting_column
from harness.report.once import once
from harness.report.table import MachineTable, Row, TaskGroup, bounded
from harness.report.words import NONE, clean, interval, number
from harness.stats import median
from harness.stats.share import share

MOST_WINDOWS = 4  # truncation windows that a cell shows; the CSV has all
_DECAY = METRICS["gradient_decay"].format


def card(table: MachineTable, group: TaskGroup | None = None) -> list[Column]:
    """Return the columns of the card of a machine, or of one task; what no row can show is left out."""
    keys = group.differing if group else table.differing
    cell = Column("cell", "cell", "the recurrent cell", lambda r: r.variant.cell, lambda r: r.variant.cell, 0, False)
    return [cell, *(setting_column(key) for key in keys), *_told(group or table)]


@once
def _told(part: MachineTable | TaskGroup) -> list[Column]:
    """The columns of the card that some row of a machine, or of one task, can show."""
    rows = part.rows
    found = [
        Column(
            "verdict", "verdict", "by published thresholds, with trials where seeds differ",
            lambda r: counted(r.verdicts), lambda r: counted(r.verdicts), 0, False,
        ),
        Column(
            "trials_diverged", "diverged", "stored seeds that diverged, and the exact 95 % interval of their share",
            _diverged,
            lambda r: r.statuses["diverged"] / len(r.records), 6,
        ),
        *_through_time(),
        *_deep(),
        *(median_column(*column) for column in _NORMS),
        Column(
            "failed_update", "first event", "update, layer and time step of the first value that was not finite or "
            "exploded, of the seed where it came first", _event,
            lambda r: _first(r).failed_update or math.nan, 9, False,
        ),
    ]  # fmt: skip
    told = [column for column in found if any(column.text(row) != NONE for row in rows)]
    if not any(row.over_seeds("skipped_updates").high > 0 for row in rows):
        told = [column for column in told if column.name != "skipped_updates"]
    return told


_NORMS = (
    ("gradient_norm_median", 6, "|grad| median"),
    ("gradient_norm_p99", 7, "|grad| p99"),
    ("gradient_norm_max", 8, "|grad| max"),
    ("clipped_share", 6),
    ("gradient_norm_after_median", 8, "|grad| after clipping"),
    ("skipped_updates", 8),
    ("loss_spikes", 7),
    ("update_ratio_median", 8),
)  # fmt: skip


def _through_time() -> list[Column]:
    """Decay and horizon, over all layers and of each."""
    beside = "median over seeds, from the first layer to the last"
    return [
        Column(
            "gradient_decay", "decay/step", f"{METRICS['gradient_decay'].doc}; median over seeds and its interval",
            lambda r: interval(r.over_seeds("gradient_decay"), _DECAY),
            lambda r: r.over_seeds("gradient_decay").center, 3,
        ),
        median_column("predicted_decay", 8, "predicted"),
        Column(
            "gradient_horizon", "horizon", f"{METRICS['gradient_horizon'].doc}, in steps; ≥ where it is not reached",
            lambda r: horizon(r.horizon), lambda r: r.horizon.steps, 5,
        ),
        Column(
            "gradient_decay_by_layer", "decay/step by layer", f"{METRICS['gradient_decay'].doc}; {beside}",
            lambda r: " / ".join(number(v, _DECAY) for v in _layers(r, "gradient_decay_by_layer")) or NONE,
            lambda r: min(_layers(r, "gradient_decay_by_layer"), default=math.nan), 9,
        ),
        Column(
            "gradient_horizon_by_layer", "horizon by layer", f"{METRICS['gradient_horizon'].doc}; {beside}",
            _horizons, lambda r: min(_layers(r, "gradient_horizon_by_layer"), default=math.nan), 9,
        ),
    ]  # fmt: skip


def _deep() -> list[Column]:
    """What is measured once, on the trained weights."""
    return [
        Column(
            "lyapunov", "Lyapunov", "largest exponent of the trained layers in nats per step, median over seeds: a "
            "small change of the state grows above 0 and dies below it; its exp is the predicted decay. Of an "
            "encoder-decoder the layers that read; each of two directions in its own order",
            lambda r: number(_exponent(r), ".3f"), _exponent, 9,
        ),
        Column(
            "truncation_cosine", "cosine by k", "of the gradient truncated at k steps with the whole one, on the "
            "trained weights, median over seeds: 1 is the same direction, 0 no relation",
            _cosines, lambda r: next(iter(by_window(r, "truncation_cosine").values()), math.nan), 9, False,
        ),
    ]  # fmt: skip


def by_position(row: Row, name: str) -> list[float]:
    """Return the median over seeds of each entry of a list in the records that have the most entries."""
    known = _positions(row)
    if name not in known:
        found = [values for r in row.records if (values := getattr(r, name))]
        longest = max(map(len, found), default=0)
        known[name] = list(map(median, zip(*(values for values in found if len(values) == longest), strict=True)))
    return known[name]


def by_window(row: Row, name: str) -> dict[int, float]:
    """Return {window length: median over seeds} of what truncation does, shortest first."""
    known = _windows(row)
    if name not in known:
        values: dict[int, list[float]] = defaultdict(list)
        for record in row.records:
            for k, value in dict(zip(record.truncation_k, getattr(record, name), strict=False)).items():
                values[k].append(value)
        known[name] = {k: median(values[k]) for k in sorted(values)}
    return known[name]


@once
def _positions(row: Row) -> dict[str, list[float]]:
    """What `by_position` found already: card and CSV ask for the same lists."""
    return {}


@once
def _windows(row: Row) -> dict[str, dict[int, float]]:
    """The same of `by_window`."""
    return {}


def first_event(row: Row) -> Record | None:
    """Return the record of the seed that ended first, of those that know at which update they did."""
    ended = [r for r in row.records if r.failed_update is not None]
    return min(ended, key=lambda r: (r.failed_update, r.seed), default=None)


def _diverged(row: Row) -> str:
    """Return `1/3 [0 %, 91 %]`: Clopper and Pearson's interval."""
    found = share(row.statuses["diverged"], len(row.records))
    return f"{found.hits}/{found.n} [{100 * found.low:.0f} %, {100 * found.high:.0f} %]"


def _first(row: Row) -> Record:
    return first_event(row) or row.records[0]


def _event(row: Row) -> str:
    record = _first(row)
    if record.failed_update is None:
        return NONE
    parts = [f"update {record.failed_update:,}", clean(record.failed_layer or "")]
    parts.append("" if record.failed_step is None else f"step {record.failed_step:,}")
    return ", ".join(part for part in parts if part)


def _layers(row: Row, name: str) -> list[float]:
    """Values by layer; of a single layer they say nothing new."""
    found = by_position(row, name)
    return found if len(found) > 1 else []


def _horizons(row: Row) -> str:
    """Return `12 / ≥ 63`: a layer whose horizon was not reached has only a bound."""
    layers, name = len(_layers(row, "gradient_horizon_by_layer")), "gradient_horizon_by_layer"
    having = [r for r in row.records if len(getattr(r, name)) == layers]
    found = (bounded(having, lambda r, i=i: getattr(r, name)[i]) for i in range(layers))  # type: ignore[misc]
    return " / ".join(map(horizon, found)) or NONE


def _exponent(row: Row) -> float:
    return next(iter(by_position(row, "lyapunov")), math.nan)


def _cosines(row: Row) -> str:
    """Return `1: 0.42, 4: 0.83, 16: 0.99`, a few windows from the shortest to the longest."""
    found = list(by_window(row, "truncation_cosine").items())
    if len(found) > MOST_WINDOWS:
        found = [found[round(i * (len(found) - 1) / (MOST_WINDOWS - 1))] for i in range(MOST_WINDOWS)]
    return ", ".join(f"{k:,}: {number(cosine, '.2f')}" for k, cosine in found) or NONE
