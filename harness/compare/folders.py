"""Two folders of results of the same trials on the same machine, held against each other."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from harness.compare import apart, clock, facts, scores
from harness.compare.clock import Clocks, Pairs
from harness.compare.names import told_apart, variant_name
from harness.compare.result import Comparison, Line, crash_line, facts_line, score_line
from harness.compare.timing import FINDABLE, OPEN, Timing
from harness.errors import Fault, UserError
from harness.record import Record
from harness.report.words import listing, plural
from harness.stats.quarters import QUARTERS
from harness.storage import store
from harness.storage.objects import place
from harness.trial import key_of

ALL = "all variants"
APART = (
    "The two runs were not interleaved: a machine that was busy in one of them alone looks like a change of the code. "
    "Before you act on a time, run: harness compare --against REVISION BENCHMARK"
)
UNDECIDED = (
    "{open} of {all} times are not decided. The machine moved the time of an update by {share:.0%} while these trials "
    "ran, and a slowdown of 20 % may hide where an interval reaches 1.2. Run both on a quieter machine (longer trials "
    "help, and harness run --on inline), or in turn, which other work hardly disturbs: "
    "harness compare --against REVISION BENCHMARK"
)
FEW = "Longer, but of too few trials to tell code from what disturbed one of them throughout: {names}"
LONGER = 1 + FINDABLE / 2
"""From which ratio on a variant is named that too few trials measured."""
TOO_SHORT = f"fewer than {QUARTERS} updates after the warm-up"
TOO_LITTLE = "not comparable: too little of a core, see below"
CLOCK = {
    "cpu": "Times are CPU seconds of an update: waiting, for other work or for a disk, is not in them",
    "wall": "Times are of the wall clock, which other work moves: not every trial has CPU seconds on both sides (those "
    "of one thread on a CPU have, unless an older harness ran them)",
}
STARVED = (
    "Trials had too little of a core, {shares}: with less than {least:.0%} updates take longer by any clock, and no "
    "time is compared. Run that beside less other work (harness run --on inline trains one trial at a time), or both "
    "in turn: harness compare --against REVISION BENCHMARK"
)


def baseline(text: str) -> list[Record]:
    """Return the records to compare with; none where there is no such folder yet, as in CI's first run, which is no
    mistake of who asks. Raises UserError where it is a file."""
    folder = place(text)
    if folder.is_file():
        remedy = f"harness compare BASE NEW, both folders of results; or harness compare {text} --against REVISION"
        raise UserError(Fault("compare needs a folder of results, and this is a file", where=text, remedy=remedy))
    return store.open_folder(text) if folder.is_dir() else []


def compare(base: Iterable[Record], new: Iterable[Record], names: tuple[str, str], accept: bool = False) -> Comparison:
    """Return the comparison of two sets of records; only trials that both have, on one machine, are compared."""
    ended = ([r for r in records if r.status != "stopped"] for records in (base, new))  # early, by a search
    one, other = ({(r.fingerprint, r.trial_id): r for r in records} for records in ended)
    shared = sorted(one.keys() & other.keys())
    notes = apart.unlike(one, other, shared, names)
    grouped: dict[str, list[tuple[Record, Record]]] = defaultdict(list)
    for key in shared:
        grouped[key_of(one[key].settings())].append((one[key], other[key]))
    variants = _named(grouped)
    clocks = clock.judge({name: [pair for pair in pairs if _timed(*pair)] for name, pairs in variants.items()})
    judged = sum(scores.differ(_whole(pairs)) for pairs in variants.values())
    lines = [line for name, pairs in variants.items() for line in _lines(name, pairs, clocks, judged)]
    if clocks.whole:
        lines.append(Line(ALL, "time", clocks.whole.verdict, _numbers(clocks.whole), clocks.whole))
    return Comparison(*names, lines, [*notes, *_told(lines, clocks, names)], accept)


def _named(grouped: Mapping[str, Pairs]) -> dict[str, Pairs]:
    """Return the variants by name."""
    settings = [pairs[0][0].settings() for pairs in grouped.values()]
    named = dict(zip(told_apart(map(variant_name, settings), settings), grouped.values(), strict=True))
    assert len(named) == len(grouped), "two variants of one name"
    return named


def _timed(base: Record, new: Record) -> bool:
    """True for two records whose times can be held against each other."""
    return base.status == new.status == "ok" and base.packed == new.packed


def _whole(pairs: Pairs) -> Pairs:
    return [pair for pair in pairs if not facts.crashed(pair)]


def _lines(name: str, pairs: Pairs, clocks: Clocks, judged: int) -> Iterator[Line]:
    whole = _whole(pairs)
    if len(whole) < len(pairs):
        yield crash_line(name, facts.crashes(pairs))
    if not whole:
        return
    left_out = sorted({why for pair in whole if (why := facts.unlike(*pair))})
    yield facts_line(name, [fact for pair in whole for fact in facts.changed(*pair)], "; ".join(left_out))
    yield score_line(name, scores.of(whole, judged), whole[0][0].metric)
    both = [pair for pair in whole if pair[0].status == pair[1].status == "ok"]
    if timing := clocks.variants.get(name):
        seconds = min(clock.seconds(new, clocks.by) for base, new in both if _timed(base, new))
        numbers = _numbers(timing, " as the other variants take" if clocks.beside else "")
        yield Line(name, "time", timing.verdict, numbers, timing, seconds)
    elif both:
        packed = next((facts.unlike(*pair) for pair in both if not _timed(*pair)), "")
        why = f"not comparable: {packed}; run both with the same `pack`" if packed else TOO_SHORT
        yield Line(name, "time", OPEN, TOO_LITTLE if clocks.starved and not packed else why)


def _numbers(timing: Timing, than: str = "") -> str:
    interval = f"[{timing.low:.3f}, {timing.high:.3f}]" if timing.low > 0 else f"[at most {timing.high:.3f}]"
    if timing.low == 0 and math.isinf(timing.high):
        interval = "[no interval]"
    return f"{timing.ratio:.3f} times as long{than} {interval}, {plural(timing.pairs, 'trial')}"


def _told(lines: list[Line], clocks: Clocks, names: tuple[str, str]) -> list[str]:
    """Say what to do about times."""
    if clocks.starved:
        had = [(name, share) for name, share in zip(names, clocks.shares, strict=True) if share < clock.LEAST_SHARE]
        shares = listing([f"{share:.0%} in {name}" for name, share in had])
        return [STARVED.format(shares=shares, least=clock.LEAST_SHARE)]
    times = [line for line in lines if line.timing]
    undecided = [line for line in times if line.verdict == OPEN]
    if not times:
        return []
    if not undecided:
        return [CLOCK[clocks.by], APART]
    long = [line.name for line in undecided if line.timing and line.timing.low == 0 and line.timing.ratio > LONGER]
    few = [FEW.format(names=listing(long))] if long else []
    return [CLOCK[clocks.by], *few, UNDECIDED.format(open=len(undecided), all=len(times), share=clocks.wavered)]
