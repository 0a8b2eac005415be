"""What both sides found out about each variant: its facts, exactly, and its scores, over as many seeds as it takes.

Equal bits are equal scores, so that a benchmark needs one seed. Where a change of the code changes what is computed,
the variants that changed are trained with further seeds on both sides, until their scores can be judged: as many seeds
as the test needs for so many variants, and no more once nothing that is missing could make one worse. A harmless change
is through after a seed or two; only what keeps scoring worse takes all of them.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from harness.compare import facts, scores
from harness.compare.names import told_apart, variant_name
from harness.compare.result import Line, crash_line, facts_line, score_line
from harness.compare.sides import Broken, Late, Starter
from harness.record import Record
from harness.trial import key_of

Told = Mapping[str, Any]
"""What a side tells of a trial's record."""
NO_TIME = "not trained to the end: no time was left; try a larger --seconds"


@dataclass
class Variant:
    """A variant: the numbers of its trials, one for each seed, and the records of both sides, more than those where
    further seeds were trained."""

    name: str
    numbers: list[int]
    seeds: list[int]
    pairs: list[tuple[Record, Record]] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether each of its trials has run to its end."""
        return len(self.pairs) >= len(self.numbers)

    @property
    def crashed(self) -> bool:
        """Whether one of its trials failed on a side."""
        return any(map(facts.crashed, self.pairs[: len(self.numbers)]))

    @property
    def changed(self) -> list[facts.Fact]:
        """Facts in which the sides differ, of the benchmark's own seeds."""
        return [fact for base, new in self.pairs[: len(self.numbers)] for fact in facts.changed(base, new)]

    def next_seed(self) -> int:
        """Return the least seed that was not trained."""
        return next(seed for seed in itertools.count() if seed not in self.seeds)


def variants_of(settings: Sequence[Mapping[str, Any]], once: Mapping[int, tuple[Told, Told]]) -> list[Variant]:
    """Return the variants of a benchmark's trials, with what was observed of each trial, base and new."""
    grouped: dict[str, list[int]] = defaultdict(list)
    for number, own in enumerate(settings):
        grouped[key_of({**own})].append(number)
    firsts = [settings[numbers[0]] for numbers in grouped.values()]
    plain = [{name: value for name, value in own.items() if name != "seed"} for own in firsts]
    names = told_apart([variant_name(own) for own in firsts], plain)
    made = []
    for name, numbers in zip(names, grouped.values(), strict=True):
        made.append(Variant(name, numbers, [settings[number]["seed"] for number in numbers]))
        made[-1].pairs += [_records(*once[number]) for number in numbers if number in once]
        for _, new in (pair for pair in made[-1].pairs if {record.status for record in pair} == {"failed"}):
            raise Broken(f"a trial failed on both sides: {new.reason}\n  {new.trial}")
    return made


def _records(*told: Told) -> tuple[Record, Record]:
    """Return both records, with the fields that both sides tell: an older revision has not all of them."""
    shared = told[0].keys() & told[1].keys()
    base, new = (Record.from_plain({name: side[name] for name in shared}) for side in told)
    return base, new


def lines_of(
    variants: Sequence[Variant], starter: Starter, wall: Mapping[int, float], say: Callable[[str], None]
) -> list[Line]:
    """Facts and scores, of what changed with further seeds. `wall`: seconds that a trial took both sides in turn."""
    sound = [each for each in variants if each.whole and not each.crashed]
    judged = [each for each in sound if each.changed or scores.differ(each.pairs)]
    seeds = scores.needed(len(judged))
    lacking = [each for each in judged if _score(each, len(judged), seeds).verdict == "inconclusive"]
    if lacking:
        say(f"further seeds, up to {seeds} a side, of what changed: {', '.join(each.name for each in lacking)}")
        with suppress(Late), starter.pair() as pair:
            for each in sorted(lacking, key=lambda each: wall[each.numbers[0]]):
                number = each.numbers[0]
                while _score(each, len(judged), seeds).verdict == "inconclusive" and len(each.pairs) < seeds:
                    if time.monotonic() + wall[number] > starter.end:
                        break
                    seed = each.next_seed()
                    each.pairs.append(_records(*pair.train(number, seed)))
                    each.seeds.append(seed)
    return [line for each in variants for line in _lines(each, len(judged), seeds)]


def _lines(variant: Variant, judged: int, seeds: int) -> Iterator[Line]:
    if variant.crashed:
        yield crash_line(variant.name, facts.crashes(variant.pairs[: len(variant.numbers)]))
        return
    if not variant.whole:
        yield from (Line(variant.name, kind, "inconclusive", NO_TIME) for kind in ("facts", "score"))
        return
    yield facts_line(variant.name, variant.changed)
    score = _score(variant, judged, seeds)
    if score.verdict != "equal":
        count = f"{len(variant.pairs)} seeds" if len(variant.pairs) > 1 else "1 seed"
        lacking = f" of {seeds} that it takes: no time was left" if score.verdict == "inconclusive" else ""
        score = replace(score, numbers=f"{score.numbers}, {count}{lacking}")
    yield score


def _score(variant: Variant, judged: int, seeds: int) -> Line:
    return score_line(variant.name, scores.of(variant.pairs, judged, seeds), variant.pairs[0][1].metric)
