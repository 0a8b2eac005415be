"""What Tune is given for each kind of search, and how a trial runs under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.launch import base
from harness.launch.base import Target
from harness.launch.dead import Asked
from harness.launch.lean import lean
from harness.record import Record
from harness.search import Study, member_id
from harness.trial import Trial

if TYPE_CHECKING:
    from harness.launch.asking import Tries


@dataclass
class Plan:
    """`space`, `searcher`, `scheduler` and `samples` as Tune takes them. `known`: trials known beforehand, each with
    the note of its search; `members`: those of populations."""

    space: dict[str, Any]
    known: Sequence[tuple[Trial, str]]
    samples: int = 1
    searcher: Tries | None = None
    scheduler: Any = None
    members: Sequence[Asked] = ()

    @property
    def open(self) -> bool:
        """Whether there may be more tries than were asked for so far."""
        return self.searcher is not None and any(not each.over for each in self.searcher.asked)

    def counted(self, target: Target) -> bool:
        """Whether Tune counts what runs; where it does not, CPUs are the limit. Members of a population that wait would
        be counted; and of a searcher no try would be ready when another ends, so that each began a process (4 s)."""
        return not self.members and (self.searcher is None or target.nodes)

    def missing(self, target: Target) -> list[Asked]:
        """Return every trial that was to run and has no record."""
        tries = [*self.known, *(self.searcher.decided() if self.searcher else ())]
        ended, noted = target.ended(), target.searches() if self.members else set()
        lacking = [Asked(trial, note, trial.id) for trial, note in tries if trial.id not in ended]
        return lacking + [member for member in self.members if member.note not in noted]


def plan(packs: Sequence[Sequence[Trial]], studies: Sequence[Study], target: Target) -> Plan:
    """Return what Tune is given to run these packs, or the tries of these studies."""
    from ray import tune

    kind = studies[0].search.kind if studies else "grid"
    begun = {study.base.id for study in studies if not study.search.foreseen}
    packs = [pack for pack in packs if pack[0].id not in begun]
    known = [(trial, target.notes.get(trial.id, "")) for pack in packs for trial in pack]
    if kind == "optuna":
        from harness.launch.asking import Tries

        searcher = Tries(studies, [{"try": _told(pack)} for pack in packs], target)
        return Plan({}, known, searcher.most, searcher)
    if kind == "population":
        return _populations(studies, packs, known, target)
    halved = {trial.id for study in studies for trial in study.tries} if kind == "asha" else set()
    told = [_told(pack, guide=kind if pack[0].id in halved else "") for pack in packs]
    scheduler = None
    if halved:
        from harness.launch.halving import Halving

        scheduler = Halving(studies, target)
    return Plan({"try": tune.grid_search(told)}, known, scheduler=scheduler)


def _populations(
    studies: Sequence[Study], packs: Sequence[Sequence[Trial]], known: Sequence[tuple[Trial, str]], target: Target
) -> Plan:
    """Return what Tune is given to train populations: all members of each that is not over."""
    from ray import tune

    from harness.launch.population import Populations

    noted = target.searches()
    due = [study for study in studies if any(study.note(number) not in noted for number in range(study.budget))]
    told, members = [_told(pack) for pack in packs], []
    for study in due:
        for number, trial in enumerate(study.tries):
            note, settings = study.note(number), {name: getattr(trial, name) for name in study.search.space}
            told.append(_told([trial], note, "population") | settings | {"every": study.search.every})
            members.append(Asked(trial, note, member_id(trial, note, target.search)))
    return Plan({"try": tune.grid_search(told)}, known, scheduler=Populations(due), members=members)


def _told(pack: Sequence[Trial], note: str = "", guide: str = "") -> dict[str, Any]:
    """Return what a trial of Tune's is told: plain texts, which Tune copies, compares and writes down."""
    return {"trials": [trial.canonical() for trial in pack], "note": note, "guide": guide}


def trials_of(run: Any) -> list[Trial]:
    """Return the trials that one of Tune's runs, by its configuration."""
    return [Trial.from_canonical(text) for text in run["try"]["trials"]]


def execute(told: dict[str, Any], target: Target, folder: str) -> list[Record]:
    """Run trials as it was told, in the process that Tune made for it."""
    trials = trials_of({"try": told})
    if told["note"]:
        target = replace(target, notes={trials[0].id: told["note"]})
    if told["guide"] == "asha":
        with lean():
            from harness.launch.halving import reporter
            from harness.training.guided import Guided

        return [base.execute(trials[0], target, partial(Guided, reporter(trials[0], target, Path(folder))))]
    if told["guide"] == "population":
        with lean():
            from harness.launch import population

        return [population.execute(told, target)]
    return base.execute_pack(trials, target)


def store_stopped(trial: Trial, target: Target, folder: str) -> None:
    """Store what a trial has reached that its search has stopped."""
    from harness.launch import halving

    halving.store_stopped(trial, target, Path(folder))
