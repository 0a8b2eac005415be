"""Trials in this process, one after the other: a debugger works, and the results are those of Ray, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count

from harness.launch.base import Display, Target, execute_pack
from harness.launch.engines import plan
from harness.search import Study
from harness.spent import CLOCK
from harness.trial import Trial


def launch(
    packs: Sequence[Sequence[Trial]],
    target: Target,
    display: Display,
    max_concurrent: int,
    studies: Sequence[Study] = (),
    cpus: int | None = None,
) -> None:
    """Run every pack here. `max_concurrent` and `cpus` limit nothing: one runs at a time."""
    for pack, note in _in_turn(packs, target, studies):
        for trial in pack:
            display.started(trial)
        for trial, record in zip(pack, execute_pack(pack, replace(target, notes=note)), strict=True):
            display.finished(trial, record.status, record.seconds)
        display.spent(CLOCK.take(outside=True))


def _in_turn(
    packs: Sequence[Sequence[Trial]], target: Target, studies: Sequence[Study]
) -> Iterator[tuple[Sequence[Trial], Mapping[str, str]]]:
    """Yield each pack with the notes of its search; of a search that goes by results, once those before have theirs."""
    if not any(study.search.kind == "optuna" for study in studies):
        yield from ((pack, target.notes) for pack in packs)
        return
    searcher = plan(packs, studies, target).searcher
    assert searcher is not None
    for number in count():
        told = searcher.suggest(str(number))
        if not isinstance(told, dict):
            return
        trial = Trial.from_canonical(told["try"]["trials"][0])
        yield [trial], {trial.id: told["try"]["note"]}
        searcher.on_trial_complete(str(number))
