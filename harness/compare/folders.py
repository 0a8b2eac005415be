"""Two folders of results of the same trials on the same machine, held against each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from harness.compare import facts, scores, timing
from harness.compare.result import Comparison, Line, facts_line, score_line, time_line
from harness.metrics import METRICS
from harness.record import Record
from harness.stats import worst
from harness.trial import Trial, key_of

APART = (
    "The two runs were not interleaved: a machine that was busy in one of them alone looks like a change of the code. "
    "Before you act on a time, run: harness compare --against REVISION BENCHMARK"
)


def compare(base: Iterable[Record], new: Iterable[Record], names: tuple[str, str], accept: bool = False) -> Comparison:
    """Return the comparison of two sets of records; only trials that both have, on one machine, are compared."""
    ended = ([r for r in records if r.status != "stopped"] for records in (base, new))  # early, by a search
    one, other = ({(r.fingerprint, r.trial_id): r for r in records} for records in ended)
    shared = sorted(one.keys() & other.keys())
    notes = _unlike(one, other, shared)
    variants: dict[str, list[tuple[Record, Record]]] = defaultdict(list)
    for key in shared:
        variants[key_of(one[key].settings())].append((one[key], other[key]))
    lines = [line for pairs in variants.values() for line in _lines(pairs, len(variants))]
    whole = [ratio for pairs in variants.values() for ratio in map(_ratio, pairs) if ratio]
    if len(variants) > 1 and whole:
        lines.append(time_line("all variants", timing.judge(whole, len(variants) + 1)))
    return Comparison(*names, lines, [*notes, *([APART] if lines else [])], accept)


def name_of(records: list[Record]) -> str:
    """Name a variant: its trial's label without the seed, and its size."""
    trial = Trial(**records[0].settings())
    return f"{trial.label.rpartition('-s')[0]}-h{trial.hidden_size}"


def _lines(pairs: list[tuple[Record, Record]], variants: int) -> list[Line]:
    name = name_of([base for base, _ in pairs])
    found = [fact for base, new in pairs for fact in facts.changed(base, new)]
    ratios = [ratio for ratio in map(_ratio, pairs) if ratio]
    seconds = [timing.quick(new.update_seconds, new.warmup_updates) for _, new in pairs]
    lines = [facts_line(name, found), scored(name, [b for b, _ in pairs], [n for _, n in pairs])]
    if ratios:
        lines.append(time_line(name, timing.judge(ratios, variants + 1), min(seconds)))
    return lines


def scored(name: str, base: list[Record], new: list[Record]) -> Line:
    """Hold the scores of a variant's seeds against those of the reference."""
    higher, form = base[0].higher_is_better, METRICS[base[0].metric].format
    bad = worst(higher)
    before, after = ([r.score if r.status == "ok" else bad for r in records] for records in (base, new))
    return score_line(name, scores.judge(before, after, higher), form)


def _ratio(pair: tuple[Record, Record]) -> float | None:
    """Time of an update, new over base; None where one has none."""
    base, new = (timing.quick(r.update_seconds, r.warmup_updates) for r in pair)
    return new / base if base > 0 and new > 0 else None


def _unlike(one: dict[tuple[str, str], Record], other: dict[tuple[str, str], Record], shared: list) -> list[str]:
    """Say what is not compared, and why."""
    machines = [sorted({key[0] for key in records}) for records in (one, other)]
    if one and other and not set(machines[0]) & set(machines[1]):
        return [
            f"no comparable baseline: base was measured on {', '.join(machines[0])}, new on {', '.join(machines[1])} "
            "(machine, versions and cores must be equal)"
        ]
    left = len(one.keys() | other.keys()) - len(shared)
    return [f"{left} trials stand in one folder alone and are not compared"] if left else []
