"""What searches found: for each variant the best of its tries, chosen on the validation split, one a seed."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from harness.record import Record
from harness.report.once import once
from harness.report.table import MachineTable, Row, TaskGroup
from harness.report.words import arrow, clean, interval, listing, phrase, plural
from harness.search import note
from harness.stats import summary, worst

Try = tuple[float, float, Record, Row]
"""Score on the validation split, by which one is chosen; score on the test split, which is reported."""


def searched(table: MachineTable) -> list[str]:
    """Return a sentence for each task with searches: what each variant reaches when each is tuned as much."""
    return [line for group in table.groups if (line := _line(group))]


@once
def _line(group: TaskGroup) -> str:
    if not any(record.search for row in group.rows for record in row.records):
        return ""
    found: dict[str, dict[int, list[Try]]] = defaultdict(lambda: defaultdict(list))
    keys = _held(group)
    space = [key for key in group.differing if key not in keys]
    for row in group.rows:
        for record, score in zip(row.records, row.scores, strict=True):
            if note(record):
                valid = worst(group.higher_is_better) if math.isinf(score) else record.valid_score
                found[row.variant.label(keys)][record.seed].append((valid, score, record, row))
    if not found:
        return ""
    said = [note(record) for own in found.values() for tries in own.values() for _, _, record, _ in tries]
    kinds = listing(sorted({f"{clean(each.get('kind'))}, {each.get('tries')} tries" for each in said}))
    sign = -1 if group.higher_is_better else 1
    best = {
        label: [min(tries, key=lambda each: (sign * each[0], each[2].trial_id)) for _, tries in sorted(by_seed.items())]
        for label, by_seed in found.items()
    }
    scores = {label: summary([each[1] for each in chosen], group.higher_is_better) for label, chosen in best.items()}
    ordered = sorted(best, key=lambda label: sign * scores[label].center)
    told = [
        f"{label} {interval(scores[label], group.metric.format)} ({_points(best[label], space)})" for label in ordered
    ]
    title = f"test {group.metric.title} {arrow(group.higher_is_better)}"
    seeds = plural(max(len(chosen) for chosen in best.values()), "seed")
    return (
        f"{group.name}: searched ({kinds} for each variant and seed); {title} of the try that is best on the "
        f"validation split, median over {seeds}: {'; '.join(told)}."
    )


def _held(group: TaskGroup) -> list[str]:
    """Return the settings that differ between variants, but not between the tries of one."""
    tries: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in group.rows:
        for record in row.records:
            for key in group.differing:
                tries[str(note(record).get("study"))][key].add(row.variant.shown(key))
    return [key for key in group.differing if all(len(own[key]) < 2 for own in tries.values())]


def _points(chosen: Sequence[Try], space: Sequence[str]) -> str:
    """Say where in the space the chosen tries lie, each once."""
    points = []
    for _, _, _, row in chosen:
        variant = row.variant
        told = [phrase(key, variant.settings[key]) for key in space if variant.telling(key)]
        points.append(", ".join(told) or "as set")
    return " | ".join(dict.fromkeys(points))


def stopped(table: MachineTable) -> list[str]:
    """Say which tries their search stopped early, and how far they came."""
    lines = []
    for name in dict.fromkeys(record.task for record in table.stopped):
        own = [record for record in table.stopped if record.task == name]
        cells = Counter(clean(record.cell) for record in own)
        points = sorted(len(record.curve_valid_score) for record in own)
        far = f"{points[0]}" if points[0] == points[-1] else f"{points[0]} to {points[-1]}"
        each = ", ".join(f"{cell} {count:,}" for cell, count in sorted(cells.items()))
        ended = f"{plural(len(own), 'trial')} stopped early by their search, after {far} evaluations ({each})"
        lines.append(
            f"{clean(name)}: {ended}: in no row, since their scores are not those of a whole budget. Their "
            "learning curves are stored."
        )
    return lines
