"""How long a trial's parts take on one core here, measured on short runs of the trial itself: nothing is guessed.

A trial costs start + updates x update + evaluations x evaluation. Two runs of a few updates, one of them with four more
evaluations, tell these apart; the updates at which probes look closer are weighed as often as they occur.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from harness import cost
from harness.errors import Fault, UserError
from harness.record import Record
from harness.trial import CLIPPING, Trial

SECONDS = 1.5
"""Of updates in each measuring run."""
FEWEST, MOST = 12, 200  # updates in it
MORE = 4  # evaluations by which the second run exceeds the first
IDLE = ("seed", "learning_rate", "weight_decay", "schedule", "select", "shuffled_targets", *CLIPPING)
"""Settings that make no difference to the time of an update, but for whether it clips."""


@dataclass(frozen=True)
class Pace:
    """Seconds of the parts of a trial on `workers` workers, alone on this machine."""

    start: float  # data, model, test, samples, record
    update: float
    evaluation: float
    updates: int
    evaluations: int
    parameters: int

    @property
    def seconds(self) -> float:
        """Of the whole trial, without what workers say to one another."""
        return self.start + self.updates * self.update + self.evaluations * self.evaluation

    def longer(self, other: Trial, measured: Trial) -> Pace:
        """Return the pace of a trial that was not measured, in proportion to the forecast from shapes."""
        there = cost.estimate(other)
        ratio = there.seconds / cost.estimate(measured).seconds
        return replace(
            self,
            start=self.start * ratio,
            update=self.updates * self.update * ratio / there.updates,
            evaluation=self.evaluation * ratio,
            updates=there.updates,  # each of them has its all-reduce
            parameters=cost.parameters(other),
        )


def shape(trial: Trial) -> str:
    """Return one text for trials that take equally long."""
    settings = trial.model_dump(mode="json")
    clips = trial.clipping[0] if trial.clipping else ""
    return repr(sorted((key, str(value)) for key, value in settings.items() if key not in IDLE)) + clips


def measured(trial: Trial, workers: int = 1) -> Pace:
    """Run the trial a little, with the share of the batch that one of `workers` takes, and return its pace."""
    trial = share(trial, workers)
    whole = cost.estimate(trial)
    updates = int(min(max(FEWEST, SECONDS / (whole.seconds / whole.updates)), MOST, max(FEWEST, whole.updates)))
    _run(trial, FEWEST, 1)  # what is first imported and prepared is no part of any trial's pace
    short, more = _run(trial, updates, 1), _run(trial, updates, 1 + MORE)
    rest, rest_more = (record.seconds - record.train_seconds for record in (short, more))
    evaluation = max(0.0, (rest_more - rest) / (len(more.curve_valid_score) - len(short.curve_valid_score) or math.inf))
    start = max(0.0, rest - evaluation * len(short.curve_valid_score))
    update, first = (max(a, 0.0) for a in _updates(short.update_seconds, more.update_seconds, trial.probe_every))
    start += first
    points = min(trial.evaluations, whole.updates)
    return Pace(start, update, evaluation, whole.updates, points, short.parameters)


def share(trial: Trial, workers: int) -> Trial:
    """Return the trial as one of its workers sees it: a part of each batch, and as many updates."""
    if workers == 1:
        return trial
    budget = {name: max(1, left // workers) for name in ("examples", "tokens") if (left := getattr(trial, name))}
    return trial.model_copy(update={"batch_size": max(1, trial.batch_size // workers), **budget})


def shortened(trial: Trial, pace: Pace) -> tuple[Trial, float]:
    """Return a trial with fewer updates, and its seconds at that pace."""
    updates = min(pace.updates, max(FEWEST, math.ceil(2 * SECONDS / pace.update)))
    part = _part(trial, updates, 1)
    points = min(part.evaluations, updates)
    return part, replace(pace, updates=cost.estimate(part).updates, evaluations=points).seconds


def _part(trial: Trial, updates: int, evaluations: int) -> Trial:
    """Return the trial with so many updates."""
    share = min(1.0, updates / cost.estimate(trial).updates)
    budget = {name: math.ceil(share * asked) for name in ("examples", "tokens") if (asked := getattr(trial, name))}
    return trial.model_copy(update={**budget, "evaluations": min(evaluations, updates)})


def _run(trial: Trial, updates: int, evaluations: int) -> Record:
    """Return the record of so many updates of a trial."""
    from harness.engine import run_trial

    record = run_trial(_part(trial, updates, evaluations))
    if record.status == "failed":
        raise UserError(Fault(f"it fails as it is measured: {record.reason}", f"trial {trial.label}"))
    return record


def _updates(short: list[float], more: list[float], every: int) -> tuple[float, float]:
    """Seconds of an update of a whole trial, and what its first ones take above that: probes look closer at the first 5
    and at each `every`th. Medians of both runs; their very first update warms up."""
    both = [(k, s) for seconds in (short, more) for k, s in enumerate(seconds) if k]
    close = [s for k, s in both if k < 5 or k % every == 0]
    plain = [s for k, s in both if k >= 5 and k % every] or close
    usual = _median(plain)
    extra = max(0.0, _median(close) - usual) if close else 0.0
    return usual + extra / every, 4 * extra


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
