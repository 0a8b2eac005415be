"""Two folders of results of the same trials on the same machine, held against each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from harness.compare import apart, clock, facts, scores
from harness.compare.clock import Clocks, Pairs
from harness.compare.result import Comparison, Line, crash_line, facts_line, score_line
from harness.compare.timing import FINDABLE, OPEN, Timing, quick
from harness.errors import Fault, UserError
from harness.metrics import METRICS
from harness.record import Record
from harness.report.variants import flat
from harness.report.words import listing, phrase, plural
from harness.stats import worst
from harness.storage import store
from harness.storage.objects import place
from harness.trial import Trial, key_of

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
TOO_SHORT = f"fewer than {clock.PARTS} updates after the warm-up"


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
    lines = [line for name, pairs in variants.items() for line in _lines(name, pairs, clocks)]
    if clocks.whole:
        lines.append(Line(ALL, "time", clocks.whole.verdict, _numbers(clocks.whole), clocks.whole))
    return Comparison(*names, lines, [*notes, *_told(lines, clocks)], accept)


def name_of(records: list[Record]) -> str:
    """Name a variant: its trial's label without the seed, and its size."""
    trial = Trial(**records[0].settings())
    return f"{trial.label.rpartition('-s')[0]}-h{trial.hidden_size}"


def _named(grouped: Mapping[str, Pairs]) -> dict[str, Pairs]:
    """Return the variants by name; those of one name are told apart by the settings that differ among them."""
    short = {key: name_of([pairs[0][0]]) for key, pairs in grouped.items()}
    counts, named = Counter(short.values()), {}
    for key, name in short.items():
        if counts[name] > 1:
            alike = [flat(grouped[k][0][0].settings()) for k, other in short.items() if other == name]
            own = flat(grouped[key][0][0].settings())
            names = [each for each in own if any(settings.get(each) != own[each] for settings in alike)]
            name = " · ".join([name, *(phrase(each, own[each]) for each in names)])
        named[name] = grouped[key]
    assert len(named) == len(grouped), "two variants of one name"
    return named


def _timed(base: Record, new: Record) -> bool:
    """True for two records whose times can be held against each other."""
    return base.status == new.status == "ok" and base.packed == new.packed


def _lines(name: str, pairs: Pairs, clocks: Clocks) -> Iterator[Line]:
    whole = [pair for pair in pairs if "failed" not in (pair[0].status, pair[1].status)]
    if len(whole) < len(pairs):
        yield crash_line(name, _crashes([pair for pair in pairs if pair not in whole]))
    if not whole:
        return
    left_out = sorted({why for pair in whole if (why := facts.unlike(*pair))})
    yield facts_line(name, [fact for pair in whole for fact in facts.changed(*pair)], "; ".join(left_out))
    yield scored(name, [base for base, _ in whole], [new for _, new in whole])
    both = [pair for pair in whole if pair[0].status == pair[1].status == "ok"]
    if timing := clocks.variants.get(name):
        seconds = min(quick(new.update_seconds, new.warmup_updates) for base, new in both if _timed(base, new))
        numbers = _numbers(timing, " as the other variants take" if clocks.beside else "")
        yield Line(name, "time", timing.verdict, numbers, timing, seconds)
    elif both:
        packed = next((facts.unlike(*pair) for pair in both if not _timed(*pair)), "")
        why = f"not comparable: {packed}; run both with the same `pack`" if packed else TOO_SHORT
        yield Line(name, "time", OPEN, why)


def _crashes(pairs: Pairs) -> str:
    """Say which trials crashed, on which side and of what, each reason once."""
    told: dict[str, list[int]] = defaultdict(list)
    for base, new in pairs:
        sides = [record for record in (base, new) if record.status == "failed"]
        where = "on both sides" if len(sides) == 2 else "in base alone" if sides == [base] else "in new alone"
        told[f"{where}: {sides[-1].reason or 'no reason is known'}"].append(sides[-1].seed)
    return "; ".join(f"seed {', '.join(map(str, sorted(seeds)))} failed {where}" for where, seeds in told.items())


def scored(name: str, base: list[Record], new: list[Record]) -> Line:
    """Hold the scores of a variant's seeds against those of the reference."""
    higher, form = base[0].higher_is_better, METRICS[base[0].metric].format
    bad = worst(higher)
    before, after = ([r.score if r.status == "ok" else bad for r in records] for records in (base, new))
    return score_line(name, scores.judge(before, after, higher), form)


def _numbers(timing: Timing, than: str = "") -> str:
    interval = f"[{timing.low:.3f}, {timing.high:.3f}]"
    return f"{timing.ratio:.3f} times as long{than} {interval}, {plural(timing.pairs, 'trial')}"


def _told(lines: list[Line], clocks: Clocks) -> list[str]:
    """Say what to do about times."""
    times = [line for line in lines if line.timing]
    undecided = [line for line in times if line.verdict == OPEN]
    if not undecided:
        return [APART] if times else []
    long = [
        line.name for line in undecided if line.timing and line.timing.low == 0 and line.timing.ratio > 1 + FINDABLE
    ]
    few = [FEW.format(names=listing(long))] if long else []
    return [*few, UNDECIDED.format(open=len(undecided), all=len(times), share=clocks.wavered)]
