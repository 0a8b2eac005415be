"""`harness report --where-time-goes`: seconds by phase, of each task and cell and of each command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness import spec, spent
from harness.cli.report import nothing_stored
from harness.record import Record, reads
from harness.report import spending
from harness.report.words import aligned, plural
from harness.spent import OUTSIDE, PHASES
from harness.storage import store
from harness.storage.objects import on_disk


def told(file: str, overrides: Sequence[str], results: Path) -> Iterator[str]:
    """Yield the lines. Raises UserError where nothing is stored."""
    columns = reads() | {"update_seconds", "spent_names", "spent_seconds"}
    if Path(file).is_dir():
        folder, records = Path(file), store.open_folder(Path(file), columns)
    else:
        benchmark = spec.load(file, overrides)
        folder = results / benchmark.name
        records = benchmark.answered(store.open_folder(folder, columns))
    if not records:
        raise nothing_stored(folder, "" if Path(file).is_dir() else file)
    rows = spending.rows(records)
    yield from _trials(rows)
    yield from _commands(folder, records)


def _trials(rows: Sequence[spending.Row]) -> Iterator[str]:
    names = spending.phases(rows)
    table = [["", "trials", "seconds each", *names]]
    for row in rows:
        shares = [f"{100 * row.seconds.get(name, 0.0) / row.total:.1f} %" if row.total else "-" for name in names]
        table.append([row.name, f"{row.trials:,}", f"{row.total / max(1, row.trials):.2f}", *shares])
    yield from aligned(table)
    yield ""
    for name in names:
        yield f"{name}: {(PHASES | spending.WITHIN)[name]}"
    yield ""


def _commands(folder: Path, records: Sequence[Record]) -> Iterator[str]:
    """Yield a line for each command whose account is there; one that was killed left none."""
    known = {record.trial_id: spending.of_record(record) for record in records}
    table = [["command", "wall s", "slots", "trials", "in trials", *OUTSIDE, "idle", "goodput"]]
    for path, account in spent.commands(on_disk(folder)):
        own = [known[one] for one in account["trials"] if one in known]
        if not own:
            continue
        seconds, updates = sum(sum(one.values()) for one in own), sum(one[spending.UPDATES] for one in own)
        found = spending.command(account, seconds, updates)
        slots = found["wall"] * found["slots"]
        shares = [f"{100 * found[name] / slots:.1f} %" for name in ("trials", *OUTSIDE, "idle")]
        goodput = f"{100 * found['goodput']:.1f} %"
        name = path.name.removesuffix(spent.SUFFIX)
        table.append([name, f"{found['wall']:.1f}", f"{found['slots']}", f"{len(own)}", *shares, goodput])
    if len(table) == 1:
        yield "no command has left an account beside its log"
        return
    yield from aligned(table)
    yield ""
    yield f"goodput: share of the slots' time, from the command's start to its last of {plural(len(known), 'trial')}, "
    yield "  that went into updates; idle: Ray and its workers start and stop, and slots that wait for the last trial"
