"""Tries that are drawn before anything runs: the same file, the same tries."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from pydantic import ValidationError

from harness.config.wording import reason
from harness.errors import Fault, UserError
from harness.search import Search, Study
from harness.trial import Trial

MOST_DRAWS = 200
"""Draws a try, after which a space is thought to have no other point."""


def points(search: Search) -> Iterator[dict[str, Any]]:
    """Yield points of the space without end. Every variant has the same ones, so that they are compared in pairs."""
    stream = random.Random(f"search {search.seed}")  # of a text, and so of no version of Python's hash
    names = sorted(search.space)
    while True:
        yield {name: search.space[name].at(stream.random()) for name in names}


def tries(search: Search, variant: Trial, faults: list[Fault], where: str) -> tuple[Trial, ...]:
    """Return the tries of a variant, each another trial once what cannot matter is left out; faults are noted."""
    found: dict[str, Trial] = {}
    before, count = len(faults), search.tries or 0
    for draws, point in enumerate(points(search)):
        if len(found) == count or len(faults) > before:
            break
        if draws == MOST_DRAWS * count:
            task, cell = variant.task["name"], variant.cell["name"]
            what = f"cell '{cell}' on task '{task}' has about {len(found)} different points in this space"
            faults.append(Fault(what, where, f"at most {len(found)} tries", f"tries: {len(found)}"))
            break
        if trial := at(variant, point, faults, where):
            found.setdefault(trial.id, trial)
    return tuple(found.values())


def studies(
    search: Search, variants: Sequence[tuple[Trial, Trial]], seeds: Sequence[int], faults: list[Fault], where: str
) -> list[Study]:
    """Return a study for each variant and seed. `variants`: normalised, and as they are written, for what is normalised
    away at one point of the space may matter at another."""
    if search.tries is None:  # points of the grid compete with those of the same task and cell
        groups: dict[str, list[Trial]] = {}
        for trial, _ in variants:
            groups.setdefault(f"{sorted(trial.task.items())} {sorted(trial.cell.items())}", []).append(trial)
        found = [(own[0], tuple(own)) for own in groups.values()]
    else:
        drawn_before = search.foreseen or search.kind == "population"
        found = [(written, tries(search, written, faults, where) if drawn_before else ()) for _, written in variants]
    return [
        Study(search, base.seeded(seed), tuple(trial.seeded(seed) for trial in own))
        for seed in seeds
        for base, own in found
    ]


def in_order(among: Sequence[Study]) -> tuple[Trial, ...]:
    """Return all tries, seed by seed and of each variant in turn: a sweep that stops early has tried each. Of a study
    whose tries are not known, what it searches around."""
    by_seed: dict[int, list[Study]] = {}
    for study in among:
        by_seed.setdefault(study.base.seed, []).append(study)
    turns = (turn for own in by_seed.values() for turn in zip_longest(*(study.begins for study in own)))
    return tuple(trial for turn in turns for trial in turn if trial is not None)


def at(variant: Trial, point: dict[str, Any], faults: list[Fault], where: str) -> Trial | None:
    """Return the variant at a point of the space; None: the two do not go together, which is noted."""
    try:
        trial = Trial(**(variant.model_dump() | point))
        trial.check()
        return trial.normalised()
    except ValidationError as error:
        faults.extend(Fault(f"at {point}: {reason(part)}", where) for part in error.errors())
    except UserError as error:
        faults.extend(replace(fault, what=f"at {point}: {fault.what}", where=where) for fault in error.faults)
    return None
