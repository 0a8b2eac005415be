"""Populations: Tune's PopulationBasedTraining, one for each study, which hands on our own states.

At every exchange all members wait for each other; those of the last quarter then go on from the state of one of the
first, with its settings changed a little. Chance is drawn from the file alone, so that a population comes to the same
records whenever it is trained. The record of a member says in its trial which settings held when: that trial, trained
by itself, gives the same weights. A population that is killed goes on from its last exchange (lineage.py).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ray import tune
from ray.tune.experiment import Trial as Run
from ray.tune.schedulers import FIFOScheduler, PopulationBasedTraining, TrialScheduler

from harness.errors import Stopped
from harness.launch import base
from harness.launch.base import Target
from harness.launch.lineage import Lineage
from harness.record import Record
from harness.search import Choice, Range, Study, member_id
from harness.training.guided import Beginning, Guided, Member
from harness.trial import CHANGEABLE, Trial

METRIC, TIME = "valid", "evaluation"
STATE, TOLD = "state", "told.json"


class Population(PopulationBasedTraining):
    """The scheduler of one study, drawing chance from the file, whose members keep their own names."""

    def __init__(self, study: Study) -> None:
        self.space, self.seed = study.search.space, f"{study.search.seed} {study.base.id}"
        super().__init__(
            time_attr=TIME, metric=METRIC, mode="max" if study.higher_is_better else "min",
            perturbation_interval=study.search.every, synch=True, log_config=False,
            hyperparam_mutations={"try": {name: _mutation(part) for name, part in self.space.items()}},
            custom_explore_fn=self._within,
        )  # fmt: skip

    def _within(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return settings inside the space: times 1.2 leaves a range at its end."""
        told, ranges = config["try"], {name: p for name, p in self.space.items() if isinstance(p, Range)}
        return {"try": told | {name: part.near(told[name]) for name, part in ranges.items()}}

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        config, operations = super()._get_new_config(trial, trial_to_clone)
        own = {name: trial.config["try"][name] for name in ("trials", "note", "guide", "every")}
        return {"try": config["try"] | own}, operations

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Let a member go on, wait, or begin from another."""
        with _drawing(f"{self.seed} {result.get(TIME)}"):
            decision: str = super().on_trial_result(controller, trial, result)
        return decision

    def left(self, controller: Any) -> None:
        """A member has ended. Where all others wait, and waited for it, they now go on without it."""
        live = [(run, self._trial_state[run]) for run in controller.get_live_trials()]
        waiting = [(run, state) for run, state in live if run.status == Run.PAUSED]
        due = self._next_perturbation_sync
        if waiting and len(waiting) == len(live) and all(state.last_train_time >= due for _, state in live):
            run, state = waiting[0]
            self.on_trial_result(controller, run, state.last_result)


class Populations(FIFOScheduler):
    """Asks the scheduler of the study that a member belongs to, and shows it the members of that study alone."""

    def __init__(self, studies: Sequence[Study]) -> None:
        super().__init__()
        self.engines = {study.base.id: Population(study) for study in studies}

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        """A member begins."""
        if engine := self.engines.get(_study(trial)):
            engine.on_trial_add(_View(controller, _study(trial)), trial)

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Let a member go on, wait, or begin from another."""
        engine = self.engines.get(_study(trial))
        if engine is None or TIME not in result:
            return TrialScheduler.CONTINUE
        return engine.on_trial_result(_View(controller, _study(trial)), trial, result)

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """A member has its record."""
        if engine := self.engines.get(_study(trial)):
            engine.on_trial_complete(_View(controller, _study(trial)), trial, result)
            engine.left(_View(controller, _study(trial), but=trial))

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        """The process of a member has died too often."""
        if engine := self.engines.get(_study(trial)):
            engine.left(_View(controller, _study(trial), but=trial))

    def choose_trial_to_run(self, controller: Any) -> Any:
        """Return the next trial that may run: of any population whose members don't all wait, or of none."""
        for study, engine in self.engines.items():
            if chosen := engine.choose_trial_to_run(_View(controller, study)):
                return chosen
        return super().choose_trial_to_run(_View(controller, ""))


class _View:
    """Tune's controller, as if the trials of one study were all there are."""

    def __init__(self, controller: Any, study: str, but: Any = None) -> None:
        self._controller, self._of, self._but = controller, study, but

    def get_trials(self) -> list[Any]:
        """Return the members."""
        return [run for run in self._controller.get_trials() if _study(run) == self._of and run is not self._but]

    def get_live_trials(self) -> list[Any]:
        """Return the members that have not ended."""
        return [run for run in self.get_trials() if not run.is_finished()]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)


def _study(run: Any) -> str:
    """Return the study that a trial of Tune's belongs to; "": it is no member of a population."""
    told = run.config["try"]
    return str(json.loads(told["note"])["study"]) if told["guide"] == "population" else ""


def _mutation(part: Choice | Range) -> Any:
    return list(part.values) if isinstance(part, Choice) else lambda: part.at(random.random())


@contextmanager
def _drawing(text: str) -> Iterator[None]:
    """Inside, Python's and NumPy's generators, which Tune draws from, go by a text; afterwards as they were."""
    before, numbers = random.getstate(), np.random.get_state()
    random.seed(text)
    np.random.seed(random.getrandbits(32))
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numbers)


def execute(told: dict[str, Any], target: Target) -> Record:
    """Train a member to its next exchange, where Tune ends this, or to its end."""
    member = _Life(told, target)
    try:
        return base.execute(member.trial, member.target, partial(Member, member.heard, member.begins), member.name)
    except _Ended:
        held = target.holding(member.name)
        assert held is not None
        return held.read(member.name)


class _Ended(Stopped):
    """The member has its record, and has told all that others need to know."""


class _Life:
    """A member of a population, from where Tune has it begin."""

    def __init__(self, told: dict[str, Any], target: Target) -> None:
        self.trial, self.begin = _handed_on(told)
        self.target = replace(target, notes={self.trial.id: told["note"]})
        self.name = member_id(self.trial, told["note"], target.search)
        self.every = told["every"]
        self.lineage = Lineage(target, told["note"], self.trial, self.every)

    def begins(self, bound: dict[str, str]) -> Beginning:
        """Say again what was said before the population was killed; return where there is something to train."""
        known = self.lineage.known(bound)
        for at, there in sorted(known.items()):
            if at > self.begin.evaluation:
                self.begin = Beginning(at, self.lineage.state(at, there.sha256))
                _tell(self.trial, self.begin, there.updates, there.score, there.seconds)
        held = self.target.holding(self.name)
        if held and self.lineage.ended(held.read(self.name), known):
            raise _Ended
        return self.begin

    def heard(self, guided: Guided) -> None:
        """At each evaluation: remember where the member stands, if its population exchanges there, and say so."""
        assert isinstance(guided, Member)
        here, updates = Beginning(len(guided.curve), guided.state), guided.course.module.updates
        if here.evaluation % self.every == 0:
            self.lineage.add(here, updates, guided.curve[-1], guided.seconds, guided.bound)
        _tell(self.trial, here, updates, guided.curve[-1], guided.seconds)


def _handed_on(told: dict[str, Any]) -> tuple[Trial, Beginning]:
    """Return the trial of a member and where it begins: what it, or one that it goes on from, has handed to Tune."""
    trial, begin = Trial.from_canonical(told["trials"][0]), Beginning()
    if checkpoint := tune.get_checkpoint():
        with checkpoint.as_directory() as folder:
            said = json.loads(Path(folder, TOLD).read_text())
            begin = Beginning(said["evaluation"], Path(folder, STATE).read_bytes())
        trial, updates = Trial.from_canonical(said["trial"]), said["updates"]
        now = trial.after(updates)
        changed = {name: told[name] for name in CHANGEABLE if name in told and told[name] != getattr(now, name)}
        if changed:
            trial = trial.model_copy(update={"changes": [*trial.changes, {"at": updates, **changed}]})
    return trial, begin


def _tell(trial: Trial, here: Beginning, updates: int, score: float, seconds: float) -> None:
    """Hand a state to Tune, which ends this process's work on the member there, by raising SystemExit, when its
    population waits or it goes on from another."""
    with TemporaryDirectory() as folder:
        Path(folder, STATE).write_bytes(here.state)
        said = {"trial": trial.canonical(), "updates": updates, "evaluation": here.evaluation}
        Path(folder, TOLD).write_text(json.dumps(said))
        checkpoint = tune.Checkpoint.from_directory(folder)
        tune.report({"seconds": seconds, TIME: here.evaluation, METRIC: score}, checkpoint=checkpoint)
