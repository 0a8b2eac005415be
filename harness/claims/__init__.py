"""Claims: what is said of recurrent networks, held against records. Holds, does not hold, or inconclusive.

A claim has trials of its own and checks on what they measured. It holds if every check holds; one that does not makes
it not hold; otherwise nothing can be said yet. Comparisons are paired by seed and judged by an exact one-sided sign
test each way, so five seeds that all agree are the least that can settle one. Only what the settings alone decide
(`COUNTED`) is compared as it is. A lost trial has the worst score; of any other measure it has no number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.claims.measures import (
    COUNTED,
    Selector,
    Value,
    center,
    is_number,
    matches,
    measured,
    metric_of,
    named,
    setting,
    title,
    written,
)  # fmt: skip
from harness.record import Record
from harness.trial import Trial

Verdict = Literal["holds", "does not hold", "inconclusive"]
LEVEL = 0.05
LINEAR, NOT_LINEAR = 0.98, 0.9
"""R2 of a straight line from which growth counts as linear, and below which it does not."""
FEWEST_POINTS = 3
"""A straight line goes through any two."""
OPPOSITE = {"greater": "less", "less": "greater", "better": "worse"}


@dataclass(frozen=True)
class Compare:
    """`measure` of one variant is greater, less or better than that of another, by `times` if given."""

    measure: str
    relation: Literal["greater", "less", "better"]
    one: Selector
    other: Selector
    times: float = 1.0


@dataclass(frozen=True)
class Linear:
    """`measure` grows as a straight line over the values of a setting; trials where it is null are passed over."""

    measure: str
    setting: str
    where: Selector


@dataclass(frozen=True)
class Claim:
    """A sentence, where it comes from, the trials that test it and how they are read."""

    text: str
    source: str
    trials: tuple[Trial, ...]
    checks: tuple[Compare | Linear, ...]


@dataclass(frozen=True)
class Result:
    """Verdict on one check: in words, and the numbers behind it by name."""

    check: Compare | Linear
    verdict: Verdict
    words: str
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """Verdict on a claim and its results; `missing`: what is not stored, and then there are none."""

    claim: Claim
    verdict: Verdict
    results: tuple[Result, ...] = ()
    missing: str = ""

    @property
    def evidence(self) -> tuple[str, ...]:
        """One sentence of numbers for each check, with its own verdict where they are not all alike."""
        alike = len({result.verdict for result in self.results}) == 1
        found = tuple(r.words if alike else f"{r.verdict}: {r.words}" for r in self.results)
        return found or (self.missing,)


def judge(claim: Claim, records: Iterable[Record]) -> Finding:
    """Hold a claim against the records of its trials; records of others are passed over."""
    wanted = {trial.id for trial in claim.trials}
    mine = {record.trial_id: record for record in records if record.trial_id in wanted}
    if len(mine) < len(wanted):
        return Finding(claim, "inconclusive", missing=f"{len(mine)} of {len(wanted)} trials are stored")
    found = list(mine.values())
    results = tuple(_compare(c, found) if isinstance(c, Compare) else _linear(c, found) for c in claim.checks)
    verdicts = {result.verdict for result in results}
    order: tuple[Verdict, ...] = ("does not hold", "inconclusive", "holds")
    return Finding(claim, next((v for v in order if v in verdicts), "inconclusive"), results)


def _compare(check: Compare, records: Sequence[Record]) -> Result:
    """Pair by seed and judge by the sign test; what no seed changes as it is."""
    sides = [{r.seed: r for r in records if matches(r.settings(), s)} for s in (check.one, check.other)]
    seeds = sorted(sides[0].keys() & sides[1].keys())
    one, other = ([measured(side[seed], check.measure) for seed in seeds] for side in sides)
    pairs = [(a, Value(check.times * b.low, check.times * b.high)) for a, b in zip(one, other, strict=True)]
    metric, higher = metric_of(check.measure, sides[0].values())
    above, below = sum(a.low > b.high for a, b in pairs), sum(a.high < b.low for a, b in pairs)
    up = check.relation == "greater" or (check.relation == "better" and higher)
    wins, losses = (above, below) if up else (below, above)
    ties = sum(a.low == a.high == b.low == b.high for a, b in pairs)
    centers = [center(values, check.measure) for values in (one, other)]
    numbers = {"one_value": centers[0].low, "other_value": centers[1].low, "wins": wins, "losses": losses, "ties": ties}
    words = _compared(check, metric.title, [written(metric, value) for value in centers])
    if check.measure in COUNTED and len(set(pairs)) == 1 and wins + losses + ties:
        verdict: Verdict = "holds" if wins else "does not hold"
        return Result(check, verdict, f"{words}: {'yes' if wins else 'no'}, the same on every seed", numbers)
    p_for, p_against = sign_test(wins, losses), sign_test(losses, wins)
    verdict = "holds" if p_for <= LEVEL else "does not hold" if p_against <= LEVEL else "inconclusive"
    words += f" in {wins} of {len(seeds)} seed{'s' * (len(seeds) != 1)}"
    words += f", {OPPOSITE[check.relation] if check.times == 1 else 'not'} in {losses}" if losses else ""
    words += f", equal in {ties}" if ties else ""
    unknown = len(seeds) - wins - losses - ties
    words += f", not known in {unknown}" if unknown else ""
    p = min(p_for, p_against)
    return Result(check, verdict, f"{words} (sign test p = {p:.2g})", numbers | {"seeds": len(seeds), "p": p})


def _compared(check: Compare, what: str, values: Sequence[str]) -> str:
    """Say what is compared, with what both sides share said once: `accuracy (adding) of lstm 0.84 against gru 0.8`."""
    shared = {k: v for k, v in check.one.items() if k in check.other and check.other[k] == v}
    own = [{k: v for k, v in side.items() if k not in shared} or side for side in (check.one, check.other)]
    colon = "" if all(side.keys() <= {"cell", "task"} for side in own) else ":"  # `steps 64: 4,938`, but `lstm 0.84`
    told = " against ".join(f"{named(side)}{colon} {value}" for side, value in zip(own, values, strict=True))
    times = f" than {check.times:g} times that" if check.times != 1 else ""
    return f"{what}{f' ({named(shared)})' if shared else ''} of {told}, {check.relation}{times}"


def _linear(check: Linear, records: Sequence[Record]) -> Result:
    """Fit a line to the medians over seeds; without a number at every point, or with too few, nothing can be said."""
    found: dict[float, list[Value]] = {}
    mine = [r for r in records if matches(r.settings(), check.where)]
    for record in mine:
        if is_number(at := setting(record.settings(), check.setting)):
            found.setdefault(float(at), []).append(measured(record, check.measure))
    centers = [(x, center(values, check.measure)) for x, values in sorted(found.items())]
    points = [(x, y.low) for x, y in centers if math.isfinite(y.low) and y.low == y.high]
    metric, _ = metric_of(check.measure, mine)
    words = f"{metric.title} of {named(check.where)} by {title(check.setting)}"
    if len(points) < (needed := max(len(centers), FEWEST_POINTS)):
        return Result(check, "inconclusive", f"{words}: a number at {len(points)} of {needed} points")
    slope, r2 = line(points)
    ends = " to ".join(written(metric, y) for _, y in (centers[0], centers[-1]))
    grows = slope > 0
    words += f" {points[0][0]:,g} to {points[-1][0]:,g} ({len(points)} points): {ends}, "
    words += f"a straight line with R2 = {r2:.4f}" if grows else "no growth"
    verdict: Verdict = "holds" if grows and r2 >= LINEAR else "inconclusive"
    if not grows or r2 < NOT_LINEAR:
        verdict = "does not hold"
    return Result(check, verdict, words, {"points": len(points), "slope": slope, "r2": r2})


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return slope and R2 of the least-squares line through (x, y), of two x or more; 0, nan where y does not vary."""
    n = len(points)
    mx, my = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    sxx, syy = sum((x - mx) ** 2 for x, _ in points), sum((y - my) ** 2 for _, y in points)
    sxy = sum((x - mx) * (y - my) for x, y in points)
    return (sxy / sxx, min(1.0, sxy**2 / (sxx * syy))) if syy else (0.0, math.nan)


def sign_test(wins: int, losses: int) -> float:
    """Exact one-sided sign test: probability of so many wins or more, were both equally likely. Ties are left out."""
    n = wins + losses
    return sum(math.comb(n, k) for k in range(wins, n + 1)) / 2**n
