"""Tries that are stopped early: Tune's ASHAScheduler, one for each study, and the records of what it stopped.

Whether a try is behind depends on which others have come to that rung before it: which tries are stopped is not the
same on every run. What was stopped is a record that says so, and is not tried again by the same search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from harness.engine import blank
from harness.launch.base import Target
from harness.launch.gpus import device
from harness.search import Study, early
from harness.storage import files
from harness.storage.rows import decode, encode, records_of
from harness.storage.store import Store
from harness.training.checkpoint import Checkpoints
from harness.training.guided import Guided
from harness.training.workers import Workers
from harness.trial import Trial

METRIC, TIME = "valid", "evaluation"


class Halving(FIFOScheduler):
    """Asks the scheduler of the study that a trial belongs to."""

    def __init__(self, studies: Sequence[Study], target: Target) -> None:
        super().__init__()
        self.of: dict[str, ASHAScheduler] = {}
        for study in studies:
            engine = _engine(study)
            self.of |= dict.fromkeys((trial.id for trial in study.tries), engine)
            for trial in study.tries:
                _remember(engine, study, trial, target)

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        """A try begins, or goes on."""
        if engine := self._engine(trial):
            engine.on_trial_add(controller, trial)

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide whether a try goes on."""
        engine = self._engine(trial)
        if engine is None or TIME not in result:
            return TrialScheduler.CONTINUE
        decision: str = engine.on_trial_result(controller, trial, result)
        return decision

    def _engine(self, trial: Any) -> ASHAScheduler | None:
        return self.of.get(str(trial))


def _engine(study: Study) -> ASHAScheduler:
    search = study.search
    return ASHAScheduler(
        time_attr=TIME, metric=METRIC, mode="max" if study.higher_is_better else "min",
        max_t=max(trial.evaluations for trial in study.tries), grace_period=search.grace,
        reduction_factor=search.reduction, stop_last_trials=False,
    )  # fmt: skip


def _remember(engine: ASHAScheduler, study: Study, trial: Trial, target: Target) -> None:
    """Tell the scheduler what a try that has its record scored at each rung."""
    record = target.read(trial.id)
    if record is None:
        return
    scores = record.curve_valid_score if record.status == "stopped" else record.curve_valid_score[:-1]
    told = SimpleNamespace(trial_id=f"stored {trial.id}")
    engine.on_trial_add(None, told)
    for number, score in enumerate(scores, 1):
        engine.on_trial_result(None, told, {TIME: number, METRIC: score})


def reporter(trial: Trial, target: Target, folder: Path) -> Callable[[Guided], None]:
    """Return what a guided trial calls at each evaluation: it leaves a record in case it is stopped there, and waits
    for Tune to decide. Where that is to stop, Tune ends the trial by raising SystemExit here."""
    record = blank(trial, target.benchmark, Workers(device=device(target.gpus))).replace(gpu_share=target.gpus)
    note = target.notes.get(trial.id, "")
    record = record.replace(trial_id=early(trial.id, target.search), status="stopped", search=note)

    def heard(guided: Guided) -> None:
        fields = guided.observed()
        curve = fields["curve_valid_score"]
        reason = f"stopped early by its search at evaluation {len(curve)} of {trial.evaluations}: behind others there"
        files.replace(partial(folder, trial.id), encode(record.replace(**fields, reason=reason)))
        tune.report({"seconds": guided.seconds, TIME: len(curve), METRIC: curve[-1]})

    return heard


def partial(folder: Path, trial_id: str) -> Path:
    """Return where a trial leaves what it has reached so far."""
    return folder / "partial" / trial_id


def store_stopped(trial: Trial, target: Target, folder: Path) -> None:
    """Store the record of a trial that its search stopped, and drop its checkpoints: it does not go on."""
    (record,) = records_of([decode(partial(folder, trial.id).read_bytes())])
    store = Store(target.root, target.benchmark, record.fingerprint)
    store.write(record)
    Checkpoints(store.checkpoint_folder(trial.id), trial.id).remove()
