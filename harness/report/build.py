"""What a report says, before any format: which records count, which are left out and why, one table a machine."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from harness.claims import Claim, Finding, judge
from harness.record import Record
from harness.report.answer import Answer, answers
from harness.report.stopped import early
from harness.report.table import MachineTable, machine_table
from harness.report.words import NONE, clean, listing, plural
from harness.search import whole_id
from harness.trial import Trial

if TYPE_CHECKING:
    from harness.match import Matched


def _held(record: Record) -> str:
    return record.samples


@dataclass(frozen=True)
class Report:
    """What every format renders. `expected`: trials of the benchmark, or None where the benchmark is not at hand."""

    name: str
    question: str
    stored: int
    expected: int | None
    machines: list[MachineTable]
    left_out: list[str]
    claims: Sequence[Claim] = ()
    matched: Sequence[Matched] = ()
    samples_of: Callable[[Record], str] = _held
    """What a trained trial answered to a few examples, read where a record was read without it."""

    @property
    def records(self) -> list[Record]:
        """Every record that counts."""
        return [record for table in self.machines for record in table.records]

    @property
    def status(self) -> str:
        """One line: `31 of 54 trials stored: 29 ok, 2 diverged, 0 failed.`"""
        of = f"{self.stored:,} of {plural(self.expected, 'trial')}" if self.expected is not None else ""
        line = f"{of or plural(self.stored, 'trial')} stored"
        if not self.stored:
            return f"{line}: nothing to compare yet."
        counts = Counter(record.status for record in self.records)
        ends = [f"{counts[status]} {status}" for status in ("ok", "diverged", "failed")]
        halted = sum(len(table.stopped) for table in self.machines)
        ends += [f"{halted} stopped early by their search"] if halted else []
        unfinished = self.expected is not None and self.stored < self.expected
        return f"{line}: {', '.join(ends)}." + (" Unfinished: what follows may still change." if unfinished else "")

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before the numbers."""
        out = list(self.left_out)
        if len(self.machines) > 1:
            out.insert(
                0,
                f"These records come from {len(self.machines)} machines or software versions that are not alike. Each "
                "has a table of its own below, and nothing is ranked across them: "
                f"{listing(_named(table) for table in self.machines)}.",
            )
        return out

    def findings(self, table: MachineTable) -> list[Finding]:
        """Return the verdict on each claim, by the records of one machine."""
        if table.fingerprint not in self._judged:
            self._judged[table.fingerprint] = [judge(claim, table.records) for claim in self.claims]
        return self._judged[table.fingerprint]

    @cached_property
    def _judged(self) -> dict[str, list[Finding]]:
        return {}

    def answers(self, table: MachineTable) -> list[Answer]:
        """Return what the numbers of one machine say, one answer a task."""
        return answers(table)


def build(
    name: str,
    question: str,
    records: Iterable[Record],
    expected: Sequence[Trial] | None,
    claims: Sequence[Claim] = (),
    matched: Sequence[Matched] = (),
    samples_of: Callable[[Record], str] = _held,
) -> Report:
    """Sort records by machine, leave out what cannot be trusted or was not asked, and build the tables."""
    every = sorted(records, key=lambda r: (r.task, r.cell, r.trial_id, r.fingerprint, r.started))  # equal bytes again
    asked = None if expected is None else {trial.id for trial in expected}
    stopped = [record for record in every if record.status == "stopped"]
    every = [record for record in every if record.status != "stopped"]
    kept = [record for record in every if asked is None or whole_id(record) in asked]
    strange = [record.trial_id for record in every if asked is not None and whole_id(record) not in asked]
    notes = []
    if strange:
        some = listing(strange, 3)
        notes.append(
            f"{plural(len(strange), 'stored trial')} left out: of other settings than this benchmark asks for ({some})."
        )
    agreed, conflicts = _agreed(kept)
    if conflicts:
        notes.append(
            f"{plural(len(conflicts), 'trial')} left out: stored twice on one machine with unlike numbers "
            f"({listing(conflicts, 3)})."
        )
    agreed, outdated = _of_one_data(agreed)
    if outdated:
        notes.append(
            f"{plural(len(outdated), 'trial')} left out: trained on other data than the latest of the same task "
            f"({listing(outdated, 3)}). Move their records away, and the next run trains them anew."
        )
    machines: dict[str, list[Record]] = defaultdict(list)
    for record in agreed:
        machines[record.fingerprint].append(record)
    tables = [
        machine_table(fingerprint, found, expected or [], early(stopped, found))
        for fingerprint, found in machines.items()
    ]
    none = [record for record in stopped if record.fingerprint not in machines]
    notes += (
        [f"{plural(len(none), 'trial')} stopped early, where no other ran to its end: in no table."] if none else []
    )
    tables.sort(key=lambda table: (-len(table.records), table.fingerprint))
    stored = len({record.trial_id for record in agreed} | {whole_id(record) for record in stopped})
    wanted = None if asked is None else len(asked)
    return Report(clean(name), clean(question), stored, wanted, tables, notes, claims, matched, samples_of)


def _agreed(records: Iterable[Record]) -> tuple[list[Record], list[str]]:
    """Return one record for each trial and machine, and the ids of trials whose records contradict each other."""
    found: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        found[record.fingerprint, record.trial_id].append(record)
    agreed, conflicts = [], []
    for (_, trial_id), same in found.items():
        if len(same) == 1 or len({repr(record.without_times()) for record in same}) == 1:
            agreed.append(same[0])
        else:
            conflicts.append(trial_id)
    return agreed, conflicts


def _of_one_data(records: list[Record]) -> tuple[list[Record], list[str]]:
    """Return the records without those of data that a later record of the same task, seed and machine has not, and the
    ids of those: equal settings mean other data where a package brings another version, and no score tells."""
    versions: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for record in records:
        versions[record.fingerprint, record.task, record.seed].add(record.data_sha256)
    several = {key[:2] for key, found in versions.items() if len(found - {""}) > 1}  # or tasks of one name are several
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.data_sha256 and (record.fingerprint, record.task) in several:
            settings = record.settings()
            data = [record.fingerprint, settings.get("task"), settings.get("shuffled_targets")]
            groups[json.dumps(data, sort_keys=True)].append(record)
    outdated: set[tuple[str, str]] = set()
    for group in groups.values():
        last = {record.seed: record.data_sha256 for record in sorted(group, key=lambda r: r.started)}
        old = {record.data_sha256 for record in group if record.data_sha256 != last[record.seed]}
        outdated |= {(record.fingerprint, record.trial_id) for record in group if record.data_sha256 in old}
    kept = [record for record in records if (record.fingerprint, record.trial_id) not in outdated]
    return kept, sorted(trial_id for _, trial_id in outdated)


def _named(table: MachineTable) -> str:
    return f"{clean(table.fingerprint) or NONE} ({plural(len(table.records), 'trial')})"
