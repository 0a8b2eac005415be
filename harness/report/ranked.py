"""The ranking under each kind of match: what was held equal, how nearly, and whether the order depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.report.table import MachineTable, Row, TaskGroup
from harness.report.words import NONE, arrow, interval, setting_value

if TYPE_CHECKING:
    from harness.match import Fit, Matched

HEADER = ("rank", "variant", "units", "has", "off by")


@dataclass(frozen=True)
class Ranking:
    """The variants of one task under one kind of match, best first. `rows`: one text for each of `header`."""

    task: str
    by: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    order: tuple[str, ...]
    """Labels without the hidden size, best first."""

    @property
    def title(self) -> str:
        """What is held equal: `digits, parameters held equal`."""
        return f"{self.task}, {self.by} held equal"


def rankings(table: MachineTable, matched: Sequence[Matched]) -> list[Ranking]:
    """Return the rankings of a machine: for each task those under each kind of match that it has variants of."""
    found = [_ranking(group, kind) for group in table.groups for kind in matched]
    return [ranking for ranking in found if len(ranking.rows) > 1]


def agreement(found: Sequence[Ranking]) -> list[str]:
    """Return a sentence for each task ranked under several kinds: whether they agree on the best and on the order."""
    lines = []
    for task in dict.fromkeys(ranking.task for ranking in found):
        among = [ranking for ranking in found if ranking.task == task]
        if len(among) > 1:
            kinds = " and ".join(ranking.by for ranking in among)
            best = {ranking.order[0] for ranking in among}
            if len({ranking.order for ranking in among}) == 1:
                lines.append(f"{task}: the order of medians is the same with {kinds} held equal.")
            elif len(best) == 1:
                first = f"{next(iter(best))} has the best median with {kinds} held equal"
                lines.append(f"{task}: {first}; the order of the others depends on it.")
            else:
                each = "; ".join(f"{ranking.order[0]} with {ranking.by}" for ranking in among)
                lines.append(f"{task}: which median is best depends on what is held equal: {each}.")
    return lines


def _ranking(group: TaskGroup, kind: Matched) -> Ranking:
    rows = [(row, kind.fits[row.variant.key]) for row in group.rows if row.variant.key in kind.fits]
    told: list[tuple[str, ...]] = [
        (str(rank), _label(row, group), setting_value("hidden_size", row.variant.settings.get("hidden_size")),
         f"{fit.has:,.0f}" if fit.has == fit.has else NONE, _off(fit),
         interval(row.score, row.metric.format, row.lost))
        for rank, (row, fit) in enumerate(rows, 1)
    ]  # fmt: skip
    header = (*HEADER, f"{group.metric.title} {arrow(group.higher_is_better)}")
    return Ranking(group.name, kind.match.title, header, told, tuple(line[1] for line in told))


def _label(row: Row, group: TaskGroup) -> str:
    return row.variant.label([key for key in group.differing if key != "hidden_size"])


def _off(fit: Fit) -> str:
    """How far a variant is from the budget."""
    return NONE if fit.mismatch != fit.mismatch else f"{100 * fit.mismatch:+.1f} %"
