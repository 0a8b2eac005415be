"""The answer in a sentence or two that the numbers support, one for each task."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.report import scaling
from harness.report.compared import Compared, compare
from harness.report.once import once
from harness.report.table import MachineTable, TaskGroup
from harness.report.words import direction, interval, listing, number, sentence
from harness.stats import Summary

ENOUGH = 6
"""Seeds from which a signed-rank test can reach 0.05 at all."""


@dataclass(frozen=True)
class Answer:
    """`task`: its name. `lead`: the finding. `rest`: what qualifies it."""

    task: str
    lead: str
    rest: str

    def __str__(self) -> str:
        return f"{self.task}: {self.lead} {self.rest}".strip()


@once
def answers(table: MachineTable) -> list[Answer]:
    """Return one answer for each task of a machine."""
    return [_answer(group) for group in table.groups]


def _answer(group: TaskGroup) -> Answer:
    found, faster = _ranked(group), scaling.told(group.rows)
    if faster and group.differing == [scaling.WORKERS]:  # what was asked: workers change no score
        return Answer(group.name, faster, f"{found.lead[0].upper()}{found.lead[1:]} {found.rest}")
    return Answer(found.task, found.lead, " ".join(filter(None, (found.rest, faster[:1].upper() + faster[1:]))))


def _ranked(group: TaskGroup) -> Answer:
    best = group.rows[0]
    title, form = group.metric.title, group.metric.format
    if not math.isfinite(best.score.center):
        return Answer(group.name, "no variant has a score for more than half of its trials.", "Nothing can be ranked.")
    shown = interval(best.score, form, best.lost)
    floor = f"the floor, {number(best.floor, form)}"
    by = "on the validation split" if not math.isnan(best.valid) else "by test scores, for want of others"
    lead = f"best {by} is {best.label}: median {title} {shown} ({direction(group.higher_is_better)})."
    beaten = [row.beats_floor for row in group.rows]
    if beaten and not any(beaten) and False in beaten:
        lead = f"no variant is better than {floor}, with its whole interval. {lead[0].upper()}{lead[1:]}"
        return Answer(group.name, lead, _worth(best.score))
    low = [row.label for row in group.rows if row.beats_floor is False]
    no_better = f"Not better than {floor}, with the whole interval: {listing(low)}." if low else ""
    rest = [_company(group), no_better, _worth(best.score)]
    return Answer(group.name, lead, " ".join(part for part in rest if part))


def _worth(score: Summary) -> str:
    """Say what the interval is."""
    return f"The interval: {sentence(score)}." if score.n > 1 else f"{sentence(score).capitalize()}."


def _company(group: TaskGroup) -> str:
    """Say than which variants the best one is better, and what the others lack to say so of them."""
    found = compare(group)
    if not found:
        return "There is no other variant to compare it with."
    seeds = max(one.found.n for one in found)
    if seeds < ENOUGH:
        return _hint(found, seeds)
    beaten = [one.other.label for one in found if one.significant]
    near = [one.other.label for one in found if not one.significant]
    said = [f"Significantly better than {listing(beaten)}." if beaten else ""]
    said += [f"Not significantly different from it: {listing(near)}." if near else "That is every other variant."]
    return " ".join(filter(None, said))


def _hint(found: list[Compared], seeds: int) -> str:
    """What too few seeds show; no difference can be significant with them."""
    if seeds < 2:
        return "Nothing can be told apart: variants share one seed or none."
    least = f"No difference is significant: with {seeds} seeds the least possible p is {number(2 * 0.5**seeds, '.2g')}."
    always = [one.other.label for one in found if one.on_every_seed]
    if not always:
        return f"{least} No other variant is behind on every seed."
    if len(always) == len(found):
        return f"{least} Every other variant is behind on every seed."
    near = [one.other.label for one in found if not one.on_every_seed]
    return f"{least} Not behind on every seed: {listing(near)}."
