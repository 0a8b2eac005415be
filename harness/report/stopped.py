"""Trials that a search stopped early: beside the tables, in none of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.record import Record
from harness.report.variants import Variant
from harness.search import whole_id


def early(stopped: Iterable[Record], records: Sequence[Record]) -> list[Record]:
    """Return those stopped early on the machine of these records that have not been run to their end as well."""
    ended = {record.trial_id for record in records}
    return [r for r in stopped if r.fingerprint == records[0].fingerprint and whole_id(r) not in ended]


def stopped_on(among: Sequence[Variant], stopped: Sequence[Record]) -> list[Record]:
    """Return those that were stopped on the task of some variants."""
    tasks = [variant.records[0].settings().get("task") for variant in among[:1]]
    return [record for record in stopped if record.settings().get("task") in tasks]
