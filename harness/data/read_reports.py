"""Reports of matches, and the result of each in a sentence: synthetic, from templates, and without end.

The result stands at any place in its report, said in one of three ways, among sentences that name teams and goals too.
Which results are held out is stated by `Match.split`; the rest of a report varies freely.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from harness.late import np
from harness.tasks.base import SPLITS, Split

TEAMS = ("Arles", "Bonn", "Cork", "Delft", "Essen", "Genoa", "Lund", "Turin")
GOALS = range(6)
SAID = (
    "{winner} beat {loser} by {more} to {less}.",
    "{loser} lost to {winner}, {less} goals to {more}.",
    "In the end it was {more} to {less} for {winner} against {loser}.",
)
ELSE = (
    "It rained in the first half.",
    "About {crowd} thousand people came.",
    "After half an hour it was {some} to {some}.",
    "{team} played without their captain.",
    "Nobody had thought much of {team} before.",
    "{team} hit the post {some} times.",
)
SUMMARIES = ("{winner} beat {loser} {more} to {less}.", "{loser} lost {less} to {more} against {winner}.")
AMOUNTS: dict[Split, int] = {"train": 4_000, "valid": 500, "test": 500}


@dataclass(frozen=True)
class Match:
    """A result: the teams by their places in TEAMS, and the goals of each."""

    winner: int
    loser: int
    more: int
    less: int

    @property
    def split(self) -> Split:
        """One result in nine tests and one validates; each team won and lost in training, by most scores."""
        rest = (self.winner + 2 * self.loser + 3 * self.more + self.less) % 9
        return "test" if rest == 0 else "valid" if rest == 4 else "train"

    def say(self, template: str) -> str:
        """Put teams and goals in a sentence."""
        teams = {"winner": TEAMS[self.winner], "loser": TEAMS[self.loser]}
        return template.format(**teams, more=self.more, less=self.less)


def reports() -> dict[Split, list[tuple[str, list[str]]]]:
    """Return reports with both ways to sum each up, the same every time."""
    every = [Match(*at) for at in itertools.product(*map(range, [len(TEAMS)] * 2), GOALS, GOALS)]
    won = [match for match in every if match.winner != match.loser and match.more > match.less]
    return {split: list(_drawn(split, [match for match in won if match.split == split])) for split in SPLITS}


def _drawn(split, results):
    rng = np.random.default_rng([SPLITS.index(split), 23])
    for place in rng.integers(len(results), size=AMOUNTS[split]):
        match, some = results[place], rng.integers(0, 6, 2)
        teams = (TEAMS[match.winner], TEAMS[match.loser])
        beside = [
            text.format(crowd=rng.integers(1, 10), some=rng.choice(some), team=teams[rng.integers(2)]) for text in ELSE
        ]
        told = [
            match.say(SAID[rng.integers(3)]),
            *(beside[i] for i in rng.permutation(len(ELSE))[: rng.integers(1, 4)]),
        ]
        yield " ".join(told[i] for i in rng.permutation(len(told))), [match.say(text) for text in SUMMARIES]
