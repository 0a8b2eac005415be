"""The record of a trial: all that was observed, one row.

A Record is plain data; its Arrow schema is derived from the annotations below, so a field is added in one place.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from harness.metrics import METRICS
from harness.storage.held import Held
from harness.trial import later

SCHEMA_VERSION = 2
"""1: the first. 2: segments (segments.py), and what a machine can do at best beside what a trial did."""
Status = Literal["ok", "diverged", "failed", "stopped"]
"""stopped: by a search, before its budget was spent; it is compared with nothing that ran to the end."""


@dataclass(frozen=True, slots=True)
class Record(Held):
    """One row: a trial and all that was observed of it. Times vary; everything else repeats bit for bit."""

    # what was asked
    trial_id: str
    benchmark: str
    trial: str  # canonical JSON of the Trial
    task: str
    cell: str
    seed: int
    # how it ended
    status: Status
    reason: str = ""
    failed_update: int | None = None
    failed_layer: str | None = None
    failed_step: int | None = None
    traceback: str = ""
    # score
    metric: str = ""
    higher_is_better: bool = True
    floor: float = math.nan
    score: float = math.nan  # test split, at the end of the budget or, if selected, at the best validation score
    also_names: list[str] = field(default_factory=list)  # further scores on the test split
    also_scores: list[float] = field(default_factory=list)
    samples: str = ""  # JSON: a few test examples with what was given, wanted and got
    valid_score: float = math.nan
    train_loss: float = math.nan
    curve_examples: list[int] = field(default_factory=list)
    curve_tokens: list[int] = field(default_factory=list)
    curve_valid_score: list[float] = field(default_factory=list)
    curve_train_loss: list[float] = field(default_factory=list)
    # size and work
    parameters: int = 0
    updates: int = 0
    skipped_updates: int = 0
    examples: int = 0  # of a stream: windows
    tokens: int = 0  # useful: padding excluded; of a stream: due
    padded_tokens: int = 0  # computed: padding included, and what a window looks back
    dropped_tokens: int = 0  # of each pass over a stream: the end of a document that does not divide by the streams
    kernel: str = ""
    activation_bytes: int = 0
    # gradient stability
    gradient_norm_median: float = math.nan
    gradient_norm_p99: float = math.nan
    gradient_norm_max: float = math.nan
    gradient_norms: list[float] = field(default_factory=list)  # before clipping, every update
    gradient_norm_after_median: float = math.nan
    clipped_share: float = math.nan
    update_ratio_median: float = math.nan
    gradient_lags: list[int] = field(default_factory=list)
    gradient_by_lag: list[float] = field(default_factory=list)  # |dL/dstate|, median over the sampled updates
    gradient_by_lag_by_layer: list[list[float]] = field(default_factory=list)
    gradient_decay: float = math.nan
    gradient_decay_by_layer: list[float] = field(default_factory=list)
    gradient_horizon: float = math.nan  # inf: still above 1 % at the largest lag measured
    gradient_horizon_by_layer: list[float] = field(default_factory=list)
    loss_spikes: int = 0
    lyapunov: list[float] = field(default_factory=list)  # exponents in nats per step, largest first; -inf: dead
    lyapunov_steps: int = 0  # steps averaged over
    predicted_decay: float = math.nan
    truncation_k: list[int] = field(default_factory=list)  # window lengths, each against the whole sequence:
    truncation_cosine: list[float] = field(default_factory=list)  # of the gradients of the recurrent layers
    truncation_norm_ratio: list[float] = field(default_factory=list)
    verdict: str = ""
    weights_sha256: str = ""  # of the trained weights: equal trials, equal hash
    # speed
    tokens_per_second: float = math.nan
    update_seconds: list[float] = field(default_factory=list)  # raw, warm-up included, evaluation excluded
    warmup_updates: int = 0
    update_cpu_seconds: list[float] = field(default_factory=list)  # CPU time of the quickest update after the warm-up
    # in each quarter (stats/quarters.py); empty: too few, several threads or workers, a GPU, or an older record
    cpu_share: float = math.nan  # CPU time over wall time of the updates after the warm-up; NaN: as above
    train_seconds: float = math.nan
    spent_names: list[str] = field(default_factory=list)  # phases of the trial (spent.py), of its last attempt
    spent_seconds: list[float] = field(default_factory=list)
    communication_seconds: float = 0.0  # of them, until the gradients of all workers were added up
    speed_up: float = math.nan  # of several workers over one, by themselves (scaling.py); NaN: of one, unknown
    scaling_efficiency: float = math.nan
    alone_seconds: list[float] = field(default_factory=list)  # raw: of one's updates alone, the warm-up first
    seconds: float = math.nan
    padding_share: float = math.nan
    peak_memory_bytes: int = 0  # of the process, libraries included; 0: not known
    # how near the machine's best: floors of an update (harness/training/efficiency.py), measured in the same process
    flops_per_token: float = math.nan
    bytes_per_update: float = math.nan
    steps_per_update: float = math.nan  # one after the other
    limit_flops_per_second: float = math.nan
    limit_bytes_per_second: float = math.nan
    limit_step_seconds: float = math.nan
    limits_measured: str = ""  # UTC, ISO 8601
    bound: str = ""  # the floor that binds: compute, bandwidth or latency
    times_floor: float = math.nan
    mfu: float = math.nan
    packed: int = 1  # trials trained as one program, this one among them: its times are its share of theirs
    attempts: int = 1  # starts of the trial: more than one where it went on from a checkpoint
    # where it comes from
    search: str = ""  # JSON: the search that decided on this trial, which try of how many; "" of a plain grid
    data_sha256: str = ""
    fingerprint: str = ""
    machine: str = ""  # JSON of machine.facts()
    device: str = "cpu"  # that it trained on, or the name of its GPU; "": never seen
    gpu_share: float = 0.0  # of that GPU, as Ray was asked
    git_commit: str = ""
    started: str = ""  # UTC, ISO 8601, of the first attempt
    schema_version: int = SCHEMA_VERSION

    def plain(self) -> dict[str, Any]:
        """Return the fields as a dict of plain values."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def without_times(self) -> dict[str, Any]:
        """Return what must be equal whenever the same trial runs again on the same machine."""
        return {key: value for key, value in self.plain().items() if key not in TIMED}

    def settings(self) -> dict[str, Any]:
        """Return the Trial's settings as plain data; one that is younger than the record is at its default."""
        found = json.loads(self.trial)
        return {**(later() if found else {}), **found}

    @classmethod
    def from_plain(cls, row: dict[str, Any]) -> Record:
        """Build from a stored row; fields that an older version did not have keep their default."""
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in row.items() if key in known})

    def replace(self, **changes: Any) -> Record:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


TIMED = frozenset(
    {"update_seconds", "started", "machine", "git_commit", "benchmark", "traceback", "attempts", "bound", "search"}
    | {"packed", "limit_flops_per_second", "limit_bytes_per_second", "limit_step_seconds", "limits_measured"}
    | {"spent_names", "spent_seconds", "gpu_share", "alone_seconds", "update_cpu_seconds", "cpu_share"}
    | {m.name for m in METRICS.values() if m.timed}
)


RAW = frozenset(
    {"update_seconds", "gradient_norms", "gradient_by_lag_by_layer", "curve_tokens", "curve_train_loss", "traceback",
     "samples", "spent_names", "spent_seconds", "alone_seconds", "update_cpu_seconds"}
)  # fmt: skip
"""Fields that no table shows, and most of a record's bytes."""


def reads(claims: Sequence[object] = ()) -> frozenset[str]:
    """Return the fields of a record that a report reads; claims may measure the raw times too."""
    return frozenset(f.name for f in fields(Record)) - RAW | ({"update_seconds"} if claims else set())


def arrow_schema() -> Any:
    """Return the pyarrow schema of a record, derived from its annotations."""
    import pyarrow as pa

    plain = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}

    def arrow(annotation: Any) -> Any:
        args = [a for a in typing.get_args(annotation) if a is not type(None)]
        if typing.get_origin(annotation) is list:
            return pa.list_(arrow(args[0]))
        if typing.get_origin(annotation) is Literal:
            return pa.string()
        return arrow(args[0]) if args else plain[annotation]

    hints = typing.get_type_hints(Record)
    return pa.schema([pa.field(f.name, arrow(hints[f.name])) for f in fields(Record)])
