"""What stands under a table: how to read it, what went wrong, and the machine, versions and commit behind it."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

from harness.record import Record
from harness.report.build import Report
from harness.report.claimed import READING
from harness.report.columns import statuses
from harness.report.efficiency import READING as FLOORS
from harness.report.efficiency import efficiency, unlike
from harness.report.plot_tries import effort
from harness.report.published import READING as PUBLISHED
from harness.report.published import published
from harness.report.searched import stopped
from harness.report.table import MachineTable, Row, TaskGroup
from harness.report.words import NONE, clean, listing, number, plural

MOST_ENDINGS = 50  # lines, one a trial
LONGEST = 300  # characters of a reason: the traceback stays in the record
PACKED = (
    "Packed: a kernel that names trials trained so many of them as one program. Useful tokens per second and seconds "
    "of such a row are each trial's share of it, so beside a row that trained alone they tell what packing wins, too."
)


def reading(table: MachineTable, claims: bool = False) -> list[str]:
    """Return how the numbers were made and what may not be read off them."""
    few = [row for row in table.rows if row.score.n < 6]
    notes = [
        "Score: a trial that diverged or failed counts as the worst, so a median can be lost. Useful tokens per second "
        "and seconds: trials that ended ok. Gradient numbers: every trial that measured them.",
        "Rows stand in the order of their medians on the validation split, and the first is the best variant, against "
        "which the others are held: no test score has a say in which it is.",
        "The interval assumes no distribution: it runs between two of the observed values, and its coverage of the "
        "true median is exact." + (" Fewer than 6 seeds cannot reach 95 %." if few else ""),
        "Verdict, the first that holds: diverged (ended so); exploding (|dL/dstate| at the largest lag over 100 times "
        "that at the smallest, or p99 of the gradient norm over 100 times its median); vanishing (|dL/dstate| falls to "
        "1 % within the lags measured); stable; n/a (no gradient through time). Truncation ends the lags measured, so "
        "a short window cannot be seen to vanish far back.",
    ]
    notes += [READING] if claims else []
    notes += effort(table)
    notes += [told for group in table.groups if (told := _budgets(group))]
    notes += [PACKED] if any(record.packed > 1 for record in table.records) else []
    notes += [PUBLISHED] if any(map(published, table.groups)) else []
    notes += [FLOORS] if efficiency(table) else []
    return notes + [told for group in table.groups if (told := unlike(group))]


def _budgets(group: TaskGroup) -> str:
    """Say that rows of a task were trained for unlike budgets; "" where they were not."""
    settings = [row.variant.settings for row in group.rows]
    found = {(unit, each[unit]) for each in settings for unit in ("examples", "tokens") if each.get(unit)}
    if len(found) < 2:
        return ""
    shown = " or ".join(f"{count:,} {unit}" for unit, count in sorted(found, key=lambda pair: pair[::-1]))
    return f"{group.name}: rows were trained on {shown}: of a difference between two such rows part is the budget."


def troubles(table: MachineTable) -> list[str]:
    """Return what went wrong: every trial that is not ok, and every number that does not add up."""
    out = _endings(table)
    out += stopped(table)
    for group in table.groups:
        floors = {r.floor for row in group.rows for r in row.records if not math.isnan(r.floor)}
        if len(floors) > 1:
            shown = ", ".join(number(f, group.metric.format) for f in sorted(floors))
            out.append(f"{group.name}: unlike floors ({shown}); each row is held against its own. Did the data change?")
    for row in table.rows:
        counts = sorted({r.parameters for r in row.records if r.parameters > 0})
        if len(counts) > 1:
            out.append(f"{row.label}: equal settings but unlike parameter counts ({counts}); none is shown.")
    commits = sorted({r.git_commit for r in table.records})
    if len(commits) > 1:
        out.append(f"Trials of {len(commits)} commits stand in this table: {listing(map(_commit, commits))}.")
    if any(commit.endswith("-dirty") for commit in commits):
        out.append("Some trials ran on code that differs from its commit (-dirty): they cannot be traced to a source.")
    return out


def _endings(table: MachineTable) -> list[str]:
    """Say how trials ended that are not ok: each of a few, and of many how many ended how, and why most often."""
    lost = [(record, row) for row in table.rows for record in row.records if record.status != "ok"]
    out = [_ended(record, row) for record, row in lost[:MOST_ENDINGS]]
    if rest := lost[MOST_ENDINGS:]:
        why = Counter(f"{r.status} ({clean(re.sub('[0-9.,]+', '#', r.reason))[:LONGEST]})" for r, _ in rest)
        told = listing(f"{count:,} {what}" for what, count in why.most_common())
        out.append(f"{plural(len(rest), 'more trial')} of {len(lost):,} that did not end well: {told}.")
    return out


def _ended(record: Record, row: Row) -> str:
    """Say how one trial ended, where, and why."""
    places = [
        f"at update {record.failed_update:,}" if record.failed_update is not None else "",
        f"in layer {clean(record.failed_layer)}" if record.failed_layer else "",
        f"at time step {record.failed_step:,}" if record.failed_step is not None else "",
    ]
    where = " ".join(place for place in places if place)
    reason = clean(record.reason) or "no reason stored"
    reason = reason if len(reason) <= LONGEST else reason[:LONGEST] + " …"
    told = f"{clean(record.task)}, {row.label}, seed {record.seed} ({record.trial_id}) {record.status}"
    return f"{told} {where}: {reason}".replace(" :", ":")


def unfinished(report: Report, table: MachineTable) -> list[str]:
    """Return which rows of this machine still lack trials."""
    if report.expected is None or len(table.records) + len(table.stopped) >= report.expected:
        return []
    rows = [f"{row.label} ({statuses(row)})" for row in table.rows if row.statuses["missing"]]
    lacking = report.expected - len(table.stopped) - sum(sum(row.statuses.values()) for row in table.rows)
    told = [f"Rows that lack trials: {listing(rows)}."] if rows else []
    absent = f"{plural(lacking, 'trial')} more belong to variants without any record here, which have no row."
    return told + ([absent] if lacking > 0 else [])


def origin(table: MachineTable) -> list[tuple[str, str]]:
    """Return (name, value) of the machine, versions, commit, threads and times behind a table."""
    facts = _facts(table.records)
    threads = sorted({str(row.variant.settings.get("threads", NONE)) for row in table.rows})
    days = sorted(r.started for r in table.records if r.started)
    data = sorted({f"{clean(r.task)} {r.data_sha256[:12]}" for r in table.records if r.data_sha256})
    out = [
        ("fingerprint", clean(table.fingerprint) or NONE),
        *((name, value) for name, value in facts.items() if value),
        ("torch threads a trial", ", ".join(threads)),
        ("commit", ", ".join(map(_commit, sorted({r.git_commit for r in table.records})))),
        ("seeds", ", ".join(map(str, sorted({r.seed for r in table.records})))),
        ("data (SHA-256)", ", ".join(data) or NONE),
        ("measured", f"{clean(days[0])} to {clean(days[-1])}" if days else NONE),
    ]
    return out


def _facts(records: list[Record]) -> dict[str, str]:
    """Return `machine.facts()` of the records, flat; several values of one fact stand side by side."""
    found: dict[str, dict[str, None]] = {}
    for text in dict.fromkeys(record.machine for record in records if record.machine):
        try:
            facts: Any = json.loads(text)
        except ValueError:
            facts = {"machine": text}
        for name, value in (facts if isinstance(facts, dict) else {"machine": facts}).items():
            found.setdefault(clean(name).removesuffix("_bytes").replace("_", " "), {})[_plain(name, value)] = None
    return {name: " / ".join(value for value in values if value) for name, values in found.items()}


def _plain(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{clean(k)} {clean(v)}" for k, v in value.items() if v)
    if isinstance(value, list):
        return ", ".join(map(clean, value))
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value / 2**30:.1f} GiB"
    return "" if value is None else clean(value)


def _commit(commit: str) -> str:
    return clean(commit) or "not recorded"
