"""Claims in a report: verdict, sentence and numbers for every format, and a CSV with one line a check."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.claims import FEWEST_POINTS, LEVEL, LINEAR, NOT_LINEAR, Compare, Finding, Verdict
from harness.report.words import clean, number, plural

BADGES: dict[Verdict, str] = {"holds": "good", "does not hold": "bad", "inconclusive": "warn"}
READING = (
    "Claims: variants are paired by seed, and a comparison is settled where an exact one-sided sign test has p of at "
    f"most {LEVEL:g}: five seeds that all agree, or more. Parameters and activations are counted, so one seed tells. "
    f"Growth is linear where a straight line through {FEWEST_POINTS} points or more has R2 of at least {LINEAR:g}, and "
    f"is not below {NOT_LINEAR:g}. A claim holds if all its checks hold; a lost trial has the worst score."
)
COLUMNS = (
    "claim", "source", "verdict", "check_verdict", "measure", "relation", "times", "one", "other", "one_value",
    "other_value", "wins", "losses", "ties", "seeds", "p", "linear_in", "where", "points", "slope", "r2", "evidence",
    "fingerprint",
)  # fmt: skip


@dataclass(frozen=True)
class Claimed:
    """One claim as a reader sees it: plain text on single lines."""

    text: str
    source: str
    verdict: Verdict
    evidence: tuple[str, ...]

    @property
    def badge(self) -> str:
        """Class of its verdict's colour."""
        return BADGES[self.verdict]


def claimed(findings: Sequence[Finding]) -> list[Claimed]:
    """Return the claims for a reader."""
    return [
        Claimed(clean(f.claim.text), clean(f.claim.source), f.verdict, tuple(map(clean, f.evidence))) for f in findings
    ]


def tally(findings: Sequence[Finding]) -> str:
    """Return one line: `Of 9 claims 5 hold, 1 does not hold, 3 are inconclusive.`"""
    ends = Counter(finding.verdict for finding in findings)
    words = {"holds": ("holds", "hold"), "does not hold": ("does not hold", "do not hold")}
    words["inconclusive"] = ("is inconclusive", "are inconclusive")
    told = [f"{ends[verdict]} {words[verdict][ends[verdict] != 1]}" for verdict in BADGES if ends[verdict]]
    return f"Of {plural(len(findings), 'claim')} {', '.join(told)}."


def lines(findings: Sequence[Finding], fingerprint: str) -> list[dict[str, object]]:
    """Return {column: value} of each check; a claim without results has one line with what is missing."""
    out: list[dict[str, object]] = []
    for finding in findings:
        told = {"claim": clean(finding.claim.text), "source": clean(finding.claim.source), "verdict": finding.verdict}
        told["fingerprint"] = clean(fingerprint)
        out += [
            {**told, "check_verdict": r.verdict, "evidence": clean(r.words), **_check(r.check), **r.numbers}
            for r in finding.results
        ] or [{**told, "evidence": finding.missing}]
    return out


def _check(check: object) -> dict[str, object]:
    """Return what a check asks for; selectors as JSON."""
    if isinstance(check, Compare):
        sides = {"one": json.dumps(dict(check.one)), "other": json.dumps(dict(check.other))}
        return {"measure": check.measure, "relation": check.relation, "times": number(check.times, "g"), **sides}
    told = vars(check)
    return {"measure": told["measure"], "linear_in": told["setting"], "where": json.dumps(dict(told["where"]))}
