"""Variants to rows: each number aggregated over seeds, with its interval; one table a machine, one group a task.

What counts in which number, said again in the notes of every report:
    score                      every trial; one that diverged or failed counts as the worst
    tokens_per_second, seconds trials that ended ok: what a finished trial costs; so efficiency and memory
    gradient numbers           every trial that measured them, diverged ones included
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter

from harness.metrics import METRICS, Metric
from harness.record import Record
from harness.report import variants as grouping
from harness.report.stopped import stopped_on
from harness.report.variants import Variant
from harness.report.words import clean, metric_of, setting_title
from harness.search import whole_id
from harness.stats import Summary, median, summary, worst
from harness.stats.center import LEAST, Mean, interquartile
from harness.trial import Trial

OK_ONLY = (
    "tokens_per_second", "times_floor", "mfu", "peak_memory_bytes", "train_seconds", "communication_seconds", "seconds",
)  # fmt: skip
MEASURED = (
    "gradient_norm_median", "gradient_norm_p99", "gradient_norm_max", "gradient_norm_after_median", "clipped_share",
    "skipped_updates", "loss_spikes", "gradient_decay", "predicted_decay", "update_ratio_median", "train_loss",
)  # fmt: skip
COUNTS = ("skipped_updates", "loss_spikes")
"""Of those, what is 0 in a record that made no update: nothing was counted there."""


@dataclass(frozen=True)
class Horizon:
    """Median lag in steps where the gradient falls to 1 %. at_least: it lies there or beyond what was measured."""

    steps: float
    at_least: bool


def bounded(records: Iterable[Record], horizon: Callable[[Record], float]) -> Horizon:
    """Return the median horizon. Where it was not reached the largest lag measured stands in: a bound from below."""
    found = [(horizon(r), float(max(lags))) for r in records if (lags := r.gradient_lags)]
    found = [(steps, last) for steps, last in found if not math.isnan(steps)]
    bound = median(min(steps, last) for steps, last in found)
    return Horizon(bound, median(steps for steps, _ in found) > bound)


@dataclass(frozen=True)
class Row:
    """One variant: its numbers over seeds. Everything here is computed from `variant.records` alone."""

    variant: Variant
    label: str
    metric: Metric
    higher_is_better: bool
    floor: float

    @property
    def records(self) -> tuple[Record, ...]:
        """The variant's records, by seed."""
        return self.variant.records

    @cached_property
    def scores(self) -> list[float]:
        """Score on the test split of each record; of one that is not ok, or is no number, the worst."""
        bad = worst(self.higher_is_better)
        return [r.score if r.status == "ok" and not math.isnan(r.score) else bad for r in self.records]

    @cached_property
    def valid(self) -> float:
        """Median score on the validation split, by which variants are ordered; nan where no seed has one."""
        bad = worst(self.higher_is_better)
        known = [r.valid_score if r.status == "ok" else bad for r in self.records]
        if all(math.isnan(value) or r.status != "ok" for value, r in zip(known, self.records, strict=True)):
            return math.nan
        return median(bad if math.isnan(value) else value for value in known)

    @cached_property
    def score(self) -> Summary:
        """Summary of the scores over seeds."""
        return summary(self.scores, self.higher_is_better)

    @property
    def also(self) -> list[str]:
        """Names of further scores, in the task's order."""
        return list(dict.fromkeys(name for r in self.records for name in r.also_names))

    def beside(self, name: str) -> Summary:
        """Summary of a further score over seeds; a lost trial counts as the worst, as in `score`."""
        higher = metric_of(name).better == "higher"
        found = [dict(zip(r.also_names, r.also_scores, strict=False)).get(name, math.nan) for r in self.records]
        return summary([worst(higher) if math.isnan(value) else value for value in found], higher)

    @cached_property
    def mean(self) -> Mean:
        """Interquartile mean of the scores, with a bootstrap interval from 5 seeds on."""
        return interquartile(self.scores)

    @cached_property
    def beats_floor(self) -> bool | None:
        """True where the whole interval is better than the floor; None where either is not known."""
        if math.isnan(self.floor) or not self.score.n:
            return None
        return self.score.low > self.floor if self.higher_is_better else self.score.high < self.floor

    def over_seeds(self, name: str) -> Summary:
        """Return the summary of a METRICS number over those trials that count in it (top of this file)."""
        if name not in self._summaries:
            counted = self._ended_ok if name in OK_ONLY else self.records
            counted = [r for r in counted if r.updates] if name in COUNTS else counted
            known = [float(value) for value in map(attrgetter(name), counted) if value == value]
            self._summaries[name] = summary(known, METRICS[name].better == "higher")
        return self._summaries[name]

    @cached_property
    def _ended_ok(self) -> Sequence[Record]:
        return [r for r in self.records if r.status == "ok"]

    @cached_property
    def _summaries(self) -> dict[str, Summary]:
        """What `over_seeds` found already: table, card and CSV ask for the same numbers."""
        return {}

    @cached_property
    def horizon(self) -> Horizon:
        """Median horizon over all layers."""
        return bounded(self.records, lambda r: r.gradient_horizon)

    @cached_property
    def parameters(self) -> float:
        """Trainable weights; nan where no trial built the model, or where equal settings gave unlike counts."""
        counts = {r.parameters for r in self.records if r.parameters > 0}
        return float(counts.pop()) if len(counts) == 1 else math.nan

    @cached_property
    def kernels(self) -> Counter[str]:
        """Kernels that ran, with trials."""
        return Counter(clean(r.kernel) for r in self.records if r.kernel)

    @cached_property
    def verdicts(self) -> Counter[str]:
        """Stability verdicts, with trials."""
        return Counter(clean(r.verdict) or ("diverged" if r.status == "diverged" else "n/a") for r in self.records)

    @cached_property
    def statuses(self) -> Counter[str]:
        """How the trials ended, with trials: ok, diverged, failed, and `missing` of those that were asked for."""
        counts: Counter[str] = Counter(r.status for r in self.records)
        counts["missing"] = max(0, self.variant.expected - len(self.records))
        return Counter({status: n for status, n in counts.items() if n})

    @property
    def lost(self) -> str:
        """Word for an infinite score: how its trials were lost."""
        ends = self.statuses
        if ends["failed"] > ends["diverged"]:
            return "failed"
        return "diverged" if ends["diverged"] else "lost"  # ok, but with a score that is no number


@dataclass(frozen=True)
class TaskGroup:
    """The rows of one task, the best median on the validation split first, ties in the benchmark's order. `settings`:
    what only this task has."""

    name: str
    settings: dict[str, str]
    metric: Metric
    higher_is_better: bool
    floor: float
    differing: list[str]
    rows: list[Row]
    stopped: Sequence[Record] = ()  # early, by a search: in no row, for nothing that ran to its end is like them


@dataclass(frozen=True)
class MachineTable:
    """All rows of one machine; never ranked with another's. `differing`: settings in which any of its rows differ."""

    fingerprint: str
    records: list[Record]
    groups: list[TaskGroup]
    differing: list[str]
    held: dict[str, str]
    stopped: Sequence[Record] = ()

    @property
    def many_seeds(self) -> bool:
        """Whether a row has seeds enough for a bootstrap interval."""
        return any(len(row.records) >= LEAST for row in self.rows)

    @property
    def rows(self) -> list[Row]:
        """Rows of all tasks."""
        return [row for group in self.groups for row in group.rows]


def machine_table(
    fingerprint: str, records: list[Record], expected: Sequence[Trial], stopped: Sequence[Record] = ()
) -> MachineTable:
    """Build the table of the records of one machine; those of trials that were `stopped` early are beside it."""
    over = {whole_id(record) for record in stopped}
    found = grouping.variants(records, [trial for trial in expected if not over or trial.id not in over])
    tasks: dict[str, list[Variant]] = defaultdict(list)
    for variant, name in zip(found, grouping.task_names(found), strict=True):
        tasks[name].append(variant)
    common = grouping.held(found)
    groups = [replace(_group(name, among, common), stopped=stopped_on(among, stopped)) for name, among in tasks.items()]
    used = {key for group in groups for key in group.differing}
    differing = [key for key in grouping.differing(found) if key in used]
    return MachineTable(fingerprint, records, groups, differing, common, stopped)


def _group(name: str, among: list[Variant], common: dict[str, str]) -> TaskGroup:
    differing = grouping.differing(among)
    records = [r for v in among for r in v.records]
    told = next((r for r in records if r.metric), records[0])
    metric, higher, floor = metric_of(told.metric), told.higher_is_better, _floor(records)
    floors = [own if not math.isnan(own := _floor(v.records)) else floor for v in among]
    rows = [Row(v, v.label(differing), metric, higher, own) for v, own in zip(among, floors, strict=True)]
    rows.sort(key=lambda row: _place(row, higher))
    keys = [k for k, value in among[0].settings.items() if k.startswith("task.") and value != ""]
    settings = {setting_title(k): among[0].shown(k) for k in keys}
    settings |= {title: value for title, value in grouping.held(among).items() if title not in common}
    return TaskGroup(name, settings, metric, higher, floor, differing, rows)


def _place(row: Row, higher_is_better: bool) -> tuple[float, float]:
    """Sort by the validation split, the best first, so that no test score decides which variant is the best one; by the
    test split only what nothing else tells apart."""
    sign, bad = (-1 if higher_is_better else 1), worst(higher_is_better)
    return sign * (bad if math.isnan(row.valid) else row.valid), sign * row.score.center


def _floor(records: Sequence[Record]) -> float:
    """Return what a guess scores; a trial that failed early does not know it."""
    return next((r.floor for r in records if not math.isnan(r.floor)), math.nan)
