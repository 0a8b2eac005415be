"""Efficiency: how near each variant came to what its machine can do, what it ran on, and what that took."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from harness.metrics import METRICS
from harness.record import Record
from harness.report.columns import Column, counted, median_column, rate_column, setting_column
from harness.report.once import once
from harness.report.table import MachineTable, Row, TaskGroup
from harness.report.words import NONE, clean, number
from harness.stats import median

FLOORS = ("compute", "bandwidth", "latency")
FAR = 10.0
"""Times its longest floor from which on an update is not said to be bound by it."""
READING = (
    "Floors: no update is quicker than its FLOPs at the rate of a matrix product, than the bytes that it must move at "
    "the rate of a copy, or than its steps one after the other at the time of the least step; all three were measured "
    "in the process of the trial, with its threads and arithmetic. The longest binds. `latency-bound: 1.7x its floor` "
    f"took 1.7 times as long as that; beyond {FAR:g} times none binds, and what takes the time is overhead: dispatch, "
    "optimiser, batches. MFU is the share of the matrix product's rate that useful tokens took: small for "
    "small networks, whose latency binds. FLOPs of a layer: 6 G H (I + H) a token."
)


def efficiency(table: MachineTable, group: TaskGroup | None = None) -> list[Column]:
    """Return the columns of a machine's efficiency, or of one task; none where no record tells of it."""
    rows, keys = (group.rows, group.differing) if group else (table.rows, table.differing)
    if not any(r.bound for row in rows for r in row.records):
        return []
    found = [
        rate_column(0),
        Column(
            "times_floor", "against its floor",
            f"the floor that binds, and the {METRICS['times_floor'].doc}; median over seeds",
            against, lambda r: r.over_seeds("times_floor").center, 1,
        ),
        median_column("mfu", 2),
        *(_ceiling(name) for name in FLOORS),
        Column(
            "kernel", "kernel", "what unrolled the network over time",
            lambda r: counted(r.kernels), lambda r: counted(r.kernels), 3, False,
        ),
        Column(
            "precision", "arithmetic", "of the model", lambda r: _setting(r, "precision"),
            lambda r: _setting(r, "precision"), 5, False,
        ),
        Column(
            "threads", "threads", "torch threads of a trial", lambda r: _setting(r, "threads"),
            lambda r: float(r.variant.settings.get("threads", math.nan)), 5,
        ),
        median_column("padding_share", 4),
        Column(
            "peak_memory_bytes", "peak memory", f"{METRICS['peak_memory_bytes'].doc}; median over seeds",
            lambda r: _mebibytes(memory(r)), memory, 4,
        ),
        Column(
            "activation_bytes", "activations", f"{METRICS['activation_bytes'].doc}; median over seeds",
            lambda r: _mebibytes(_activations(r)), _activations, 5,
        ),
    ]  # fmt: skip
    cell = Column("cell", "cell", "the recurrent cell", lambda r: r.variant.cell, lambda r: r.variant.cell, 0, False)
    return [cell, *(setting_column(key) for key in keys), *found]


@once
def bounds(row: Row) -> Counter[str]:
    """Return the floors that bind, with trials."""
    return Counter(clean(r.bound) for r in row.records if r.status == "ok" and r.bound)


def against(row: Row) -> str:
    """Return `latency-bound: 1.7x its floor`; far beyond, no floor binds: `overhead: 42x its latency floor`."""
    found, times = bounds(row), row.over_seeds("times_floor").center
    if not found:
        return NONE
    name, told = found.most_common(1)[0][0], number(times, METRICS["times_floor"].format)
    return f"{name}-bound: {told}x its floor" if times <= FAR else f"overhead: {told}x its {name} floor"


def ceiling(row: Row, floor: str) -> float:
    """Return the useful tokens per second that one floor would allow, the median over seeds that ended ok."""
    return _ceilings_of(row)[floor]


@once
def _ceilings_of(row: Row) -> dict[str, float]:
    told = [r for r in row.records if r.status == "ok" and r.bound]
    return {floor: median(map(allows, told)) for floor, allows in _ceilings.items()}


def _per_update(record: Record) -> float:
    return record.tokens / record.updates if record.updates else math.nan


_ceilings: dict[str, Callable[[Record], float]] = {
    "compute": lambda r: r.limit_flops_per_second / r.flops_per_token if r.flops_per_token else math.inf,
    "bandwidth": lambda r: _per_update(r) * r.limit_bytes_per_second / r.bytes_per_update
    if r.bytes_per_update else math.inf,
    "latency": lambda r: _per_update(r) / (r.steps_per_update * r.limit_step_seconds)
    if r.steps_per_update else math.inf,
}  # fmt: skip


def _ceiling(floor: str) -> Column:
    return Column(
        f"ceiling_{floor}", f"{floor} allows", f"useful tokens per second that the {floor} floor would allow; median "
        "over seeds", lambda r: number(ceiling(r, floor), ",.0f"), lambda r: ceiling(r, floor), 4,
    )  # fmt: skip


@once
def unlike(group: TaskGroup) -> str:
    """Say whether throughput compares like with like in a task: rows that ran on unlike kernels do not."""
    kernels = sorted({name for row in group.rows for name in row.kernels})
    if len(kernels) < 2:
        return f"{group.name}: every row ran on one kernel ({kernels[0]}), like for like." if kernels else ""
    return (
        f"{group.name}: unlike kernels ({'; '.join(kernels)}). Throughput ranks them as well as the architectures: "
        "`like_for_like: loop` in the benchmark, or --set kernel=loop, runs every row on the plain loop."
    )


@once
def memory(row: Row) -> float:
    """Return the median peak over the seeds that know theirs."""
    return median(float(r.peak_memory_bytes) for r in row.records if r.status == "ok" and r.peak_memory_bytes)


@once
def _activations(row: Row) -> float:
    return median(float(r.activation_bytes) for r in row.records if r.activation_bytes)


def _mebibytes(size: float) -> str:
    return NONE if math.isnan(size) else f"{size / 2**20:,.3g} MiB" if size < 2**30 else f"{size / 2**20:,.0f} MiB"


def _setting(row: Row, name: str) -> str:
    return clean(row.variant.settings.get(name, NONE))
