"""The answer in a sentence or two that the numbers support, one for each task."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.report.table import MachineTable, Row, TaskGroup
from harness.report.words import direction, interval, listing, number, sentence


@dataclass(frozen=True)
class Answer:
    """`task`: its name. `lead`: the finding. `rest`: what qualifies it."""

    task: str
    lead: str
    rest: str

    def __str__(self) -> str:
        return f"{self.task}: {self.lead} {self.rest}".strip()


def answers(table: MachineTable) -> list[Answer]:
    """Return one answer for each task of a machine."""
    return [_answer(group) for group in table.groups]


def apart(best: Row, other: Row) -> bool:
    """True where both rows have an interval (two seeds or more) and the intervals do not touch."""
    one, two = best.score, other.score
    return min(one.n, two.n) >= 2 and (one.low > two.high or two.low > one.high)


def _answer(group: TaskGroup) -> Answer:
    best = group.rows[0]
    title, form = group.metric.title, group.metric.format
    if not math.isfinite(best.score.center):
        return Answer(group.name, "no variant has a score for more than half of its trials.", "Nothing can be ranked.")
    shown = interval(best.score, form, best.lost)
    floor = f"the floor, {number(best.floor, form)}"
    lead = f"the best median {title} is {shown} by {best.label} ({direction(group.higher_is_better)})."
    beaten = [row.beats_floor for row in group.rows]
    if beaten and not any(beaten) and False in beaten:
        lead = f"no variant is better than {floor} with its whole interval. {lead[0].upper()}{lead[1:]}"
        return Answer(group.name, lead, f"The interval: {sentence(best.score)}.")
    low = [row.label for row in group.rows if row.beats_floor is False]
    no_better = f"Not better than {floor}, with the whole interval: {listing(low)}." if low else ""
    rest = [_company(group), no_better, f"The interval: {sentence(best.score)}."]
    return Answer(group.name, lead, " ".join(part for part in rest if part))


def _company(group: TaskGroup) -> str:
    """Say which variants the best one is not told apart from."""
    best, others = group.rows[0], group.rows[1:]
    if not others:
        return "There is no other variant to compare it with."
    near = [row.label for row in others if not apart(best, row)]
    if not near:
        return "Its interval touches no other variant's."
    if len(near) == len(others):
        return "It is not told apart from any other variant: the intervals overlap, or rest on one seed."
    far = len(others) - len(near)
    lie = "one lies" if far == 1 else f"{far} lie"
    return f"Not told apart from it, because the intervals overlap: {listing(near)}. The other {lie} apart."
