"""A search that decides on each try after the results of those before it: Tune's OptunaSearch, one for each study.

Tries are decided in rounds of `at_once`, and told in order. So the points follow from the file and from the scores of
earlier tries alone, whatever runs how fast beside them: the same file has the same tries, in this process or on Ray. A
search that was killed asks for its tries again: those with a record are told at once and never run again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from harness.launch.base import Target
from harness.search import Choice, Range, Study, drawn
from harness.trial import Trial

MOST_MISFITS = 1_000
"""Points that do not go together with the other settings, after which a study has no more tries."""
METRIC = "valid"


class Asked:
    """The tries of one study."""

    def __init__(self, study: Study) -> None:
        self.study, self.told, self.misfits = study, 0, 0
        self.tries: list[Trial] = []
        self.names: list[str] = []  # of the tries, to the engine
        self.values: dict[int, float] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        text = f"{study.search.seed} {study.base.id}"
        seed = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
        self.space = {name: _distribution(part) for name, part in sorted(study.search.space.items())}
        sampler = optuna.samplers.TPESampler(seed=seed)
        mode = "max" if study.higher_is_better else "min"
        self.engine = OptunaSearch(space=self.space, metric=METRIC, mode=mode, sampler=sampler)

    @property
    def over(self) -> bool:
        """Whether there is nothing more to ask for."""
        return len(self.tries) == self.study.budget or self.misfits >= MOST_MISFITS

    def next(self) -> int | None:
        """Return the number of the next try; None: nothing more, or those of the round before are not told yet."""
        count = len(self.tries)
        if self.over or (count % self.study.search.at_once == 0 and self.told < count):
            return None
        while self.misfits < MOST_MISFITS:
            name = f"{count} {self.misfits}"
            given = self.engine.suggest(name)
            point = {setting: _value(self.study.search.space[setting], given[setting]) for setting in self.space}
            if trial := drawn.at(self.study.base, point, [], ""):
                self.tries.append(trial)
                self.names.append(name)
                return count
            self.misfits += 1  # no try: the search hears that there is nothing to be had there
            self.engine.on_trial_complete(name, {METRIC: self.study.worst})
        return None

    def tell(self, number: int, value: float) -> None:
        """A try has its result; the search hears of it once it has heard of all before."""
        self.values[number] = value
        while self.told in self.values:
            self.engine.on_trial_complete(self.names[self.told], {METRIC: self.values[self.told]})
            self.told += 1


class Tries(Searcher):
    """What Tune asks: first for trials that no search decides on, then each study in turn."""

    def __init__(self, studies: Sequence[Study], plain: Sequence[dict[str, Any]], target: Target) -> None:
        super().__init__()  # without a metric: Tune would look for it in what trials report
        self.target, self.plain, self.asked = target, list(plain), [Asked(study) for study in studies]
        self.running: dict[str, tuple[Asked, int]] = {}
        self.turn = 0

    @property
    def most(self) -> int:
        """The most that it can be asked for."""
        return len(self.plain) + sum(each.study.budget for each in self.asked)

    def decided(self) -> Iterator[tuple[Trial, str]]:
        """Yield the tries that were decided on, with their notes."""
        for each in self.asked:
            yield from ((trial, each.study.note(number)) for number, trial in enumerate(each.tries))

    def suggest(self, trial_id: str) -> Any:
        """Return what the next trial of Tune's is told; None: wait; "FINISHED": there is nothing more."""
        if self.target.stopped:
            return Searcher.FINISHED
        if self.plain:
            return self.plain.pop(0)
        for _ in self.asked:
            each = self.asked[self.turn]
            self.turn = (self.turn + 1) % len(self.asked)
            if (number := self._unstored(each)) is not None:
                self.running[trial_id] = each, number
                told = {"trials": [each.tries[number].canonical()], "note": each.study.note(number), "guide": ""}
                return {"try": told}
        return None if self.running else Searcher.FINISHED

    def _unstored(self, each: Asked) -> int | None:
        """Return the next try that has no record; those that have are told on the way."""
        while (number := each.next()) is not None:
            trial = each.tries[number]
            if not (held := self.target.holding(trial.id)):
                return number
            each.tell(number, each.study.worth(held.read(trial.id)))
        return None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial of Tune's is over. What counts is its record; one whose process died has none yet."""
        if trial_id in self.running:
            each, number = self.running.pop(trial_id)
            trial = each.tries[number]
            if held := self.target.holding(trial.id):
                each.tell(number, each.study.worth(held.read(trial.id)))
            elif error:
                each.tell(number, each.study.worst)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing is known of a try before its end."""

    def save(self, checkpoint_path: str) -> None:
        """Tune's own state is never gone on from: records are."""


def _distribution(part: Choice | Range) -> optuna.distributions.BaseDistribution:
    """Return what Optuna calls it; of a choice the position, since its values may be anything."""
    if isinstance(part, Choice):
        return optuna.distributions.CategoricalDistribution(range(len(part.values)))
    if part.whole:
        return optuna.distributions.IntDistribution(int(part.low), int(part.high), log=part.log)
    return optuna.distributions.FloatDistribution(part.low, part.high, log=part.log)


def _value(part: Choice | Range, given: Any) -> Any:
    return part.values[given] if isinstance(part, Choice) else part.near(given)
