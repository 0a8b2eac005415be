"""Published numbers beside ours, each with a verdict that follows from the records alone, by the rule in `READING`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from harness.metrics import METRICS
from harness.references import Reference, ledger, reaches
from harness.report.once import once
from harness.report.table import Row, TaskGroup
from harness.report.words import NONE, clean, doubt, interval, metric_of, number, plural, setting_title, setting_value
from harness.stats import Summary, median, summary, worst

Verdict = Literal["within", "short", "not comparable"]
BADGES: dict[Verdict, str] = {"within": "good", "short": "warn", "not comparable": ""}
SIZE = 2.0
"""Times as many parameters from which on two models are of unlike size."""
READING = (
    "Published numbers: within, where our interval over two seeds or more reaches the published value, or the worst of "
    "its published spread; short, where all of it is worse. Not comparable, whatever the values, where model, data, "
    "training data, split, metric or protocol is another, where one model has over "
    f"{SIZE:g} times the parameters of the other, where the number was recalled and not checked, or where one seed or "
    "a lost median leaves ours in doubt. A published size that is not known is not held against either. Of several "
    "rows the most alike is taken, then the best on the validation split. Equal scores do not make equal work: budgets "
    "and tuning differ."
)
COLUMNS = (
    "task", "published_model", "metric", "published", "published_low", "published_high", "published_parameters",
    "verified", "cite", "protocol", "verdict", "why", "ours", "ours_low", "ours_high", "ours_confidence", "ours_n",
    "parameters", "settings", "fingerprint",
)  # fmt: skip


@dataclass(frozen=True)
class Held:
    """One published number, the row of ours that is most alike, and what follows from both."""

    task: str
    reference: Reference
    row: Row
    ours: Summary
    verdict: Verdict
    reasons: tuple[str, ...]

    @property
    def why(self) -> str:
        """The reasons in a line."""
        return "; ".join(self.reasons)

    @property
    def badge(self) -> str:
        """Class of its verdict's colour."""
        return BADGES[self.verdict]

    @property
    def form(self) -> str:
        """Format of both numbers."""
        return metric_of(self.reference.metric).format

    @property
    def texts(self) -> dict[str, str]:
        """Column -> what a reader sees."""
        size = number(float(self.reference.parameters or math.nan), ",.0f")
        source = " · ".join(filter(None, [self.reference.cite, self.reference.protocol]))
        told = {
            "verdict": self.verdict,
            "why": self.why,
            "published": f"{number(self.reference.value, self.form)} {metric_of(self.reference.metric).title}",
            "model": self.reference.model,
            "parameters": size,
            "ours": interval(self.ours, self.form, self.row.lost),
            "by": self.row.label,
            "our parameters": number(self.row.parameters, ",.0f"),
            "source": source,
            "verified": self.reference.verified,
        }
        return {name: clean(text) for name, text in told.items()}

    def line(self, fingerprint: str) -> dict[str, object]:
        """Return {column: value} as COLUMNS names them, numbers in full."""
        low, high = self.reference.spread or (math.nan, math.nan)
        told = self.reference, self.ours
        published = {"published": told[0].value, "published_low": low, "published_high": high}
        ours = {"ours": told[1].center, "ours_low": told[1].low, "ours_high": told[1].high}
        names = ("metric", "verified", "cite", "protocol")
        return {
            "task": self.task, "published_model": self.reference.model, **published, **ours,
            **{name: getattr(self.reference, name) for name in names},
            "published_parameters": self.reference.parameters, "verdict": self.verdict, "why": self.why,
            "ours_confidence": self.ours.confidence, "ours_n": self.ours.n,
            "parameters": None if math.isnan(self.row.parameters) else int(self.row.parameters),
            "settings": self.row.variant.key, "fingerprint": clean(fingerprint),
        }  # fmt: skip


@once
def published(group: TaskGroup) -> list[Held]:
    """Return what is published on a task's data, each number held against the row that is most alike; first what is
    comparable, last what differs most."""
    settings = group.rows[0].variant.settings
    task = {key.removeprefix("task."): value for key, value in settings.items() if key.startswith("task.")}
    rows = [row for row in group.rows if not row.variant.settings.get("shuffled_targets")]
    found = ledger(str(settings.get("task", ""))).of(task)
    held = [_held(group.name, reference, rows) for reference in found if rows]
    return sorted(held, key=lambda one: (one.verdict == "not comparable", len(one.reasons)))


def why_none(group: TaskGroup) -> str:
    """Say why nothing stands beside a task of others' data; "" where something does, or nobody knows."""
    settings = group.rows[0].variant.settings
    task = {key.removeprefix("task."): value for key, value in settings.items() if key.startswith("task.")}
    return ledger(str(settings.get("task", ""))).why_none(task)


def _held(task: str, reference: Reference, rows: list[Row]) -> Held:
    metric = METRICS[reference.metric]
    higher = metric.better == "higher"

    def fitness(row: Row) -> tuple[int, float]:
        valid = median(record.valid_score for record in row.records)
        valid = valid if row.higher_is_better else -valid
        return -len(list(_differences(reference, row))), -math.inf if math.isnan(valid) else valid

    row = max(rows, key=fitness)
    ours = score(row, reference.metric)
    reasons = [*_differences(reference, row), *_doubts(reference, ours)]
    if reasons:
        return Held(task, reference, row, ours, "not comparable", tuple(reasons))
    reached = reaches(reference, ours.high if higher else ours.low, higher)
    whole = reached and reaches(reference, ours.low if higher else ours.high, higher)
    ends = {(True, True): "our whole interval is as good", (True, False): "our interval reaches it"}
    told = [f"{ends.get((reached, whole), 'our whole interval is worse')} ({doubt(ours)})"]
    told += [] if reference.parameters else ["the published size is not known"]
    return Held(task, reference, row, ours, "within" if reached else "short", tuple(told))


def score(row: Row, metric: str) -> Summary:
    """Return our summary over seeds of a metric, whether it is the task's own or one besides."""
    if metric == row.metric.name:
        return row.score
    higher = METRICS[metric].better == "higher"
    found = [
        dict(zip(r.also_names, r.also_scores, strict=True)).get(metric, math.nan) if r.status == "ok" else worst(higher)
        for r in row.records
    ]
    return summary([] if all(map(math.isnan, found)) else found, higher)


def _differences(reference: Reference, row: Row) -> Iterator[str]:
    """Say in what a row is not what was published."""
    own = row.variant.settings
    if reference.metric not in {row.metric.name, *(name for r in row.records for name in r.also_names)}:
        yield f"other metric: ours is {row.metric.title}"
    for kind, wanted in {"model": reference.like, **reference.needs}.items():
        for key, value in wanted.items():
            if own.get(key) != value:
                had = setting_value(key, own[key]) if key in own else NONE
                yield f"other {kind}: {setting_title(key)} {had}, published {setting_value(key, value)}"
    yield from (f"other {kind}: {what}" for kind, what in reference.differs.items())
    if reference.parameters and not math.isnan(row.parameters):
        times = max(row.parameters, reference.parameters) / min(row.parameters, reference.parameters)
        if times > SIZE:
            more = "more" if row.parameters > reference.parameters else "fewer"
            yield f"other size: ours has {number(times, '.3g')} times {more} parameters"


def _doubts(reference: Reference, ours: Summary) -> Iterator[str]:
    """Say why a verdict would claim more than the numbers hold."""
    if reference.verified == "recalled":
        yield "recalled, not checked"
    if ours.n < 2:
        yield f"{plural(ours.n, 'seed')}: no interval" if ours.n else "ours has no such score"
    elif not math.isfinite(ours.center):
        yield "more than half of our trials were lost"
