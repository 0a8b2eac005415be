"""Records that older versions wrote are read: fixtures made by their own code, out of this repository's history."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path

import pytest
from report_records import told

from harness.record import SCHEMA_VERSION, Record
from harness.storage import segments
from harness.storage.compact import compact
from harness.storage.store import Store, open_folder, read_file

FIXTURES = sorted((Path(__file__).parents[1] / "fixtures" / "records").glob("schema-*/*.parquet"))
"""schema-VERSION-COMMIT/ID.parquet: `git archive COMMIT harness`, and its `store.encode`."""
WRITTEN = {
    "task": "digits", "cell": "lstm", "seed": 3, "status": "ok", "metric": "accuracy", "score": 0.75,
    "valid_score": 0.7, "parameters": 4810, "gradient_norms": [1.5, 2.5], "gradient_lags": [0, 8, 15],
    "gradient_by_lag": [1.0, 0.5, 0.25], "gradient_horizon": math.inf, "kernel": "oneDNN fused", "verdict": "stable",
    "update_seconds": [0.002, 0.003], "fingerprint": "test-2c-01234567", "started": "2026-11-23T08:00:00+00:00",
}  # fmt: skip


def test_there_is_a_fixture_of_every_older_version() -> None:
    assert {int(path.parent.name.split("-")[1]) for path in FIXTURES} == set(range(1, SCHEMA_VERSION))


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.parent.name)
def test_what_an_older_version_wrote_is_read_and_what_it_knew_not_is_absent(path: Path) -> None:
    found = read_file(path)
    assert {name: getattr(found, name) for name in WRITTEN} == WRITTEN
    assert found.git_commit == path.parent.name.split("-")[2] and found.trial_id == path.stem
    assert math.isnan(found.cpu_share) and found.update_cpu_seconds == []
    assert math.isnan(found.mfu) and found.bound == "" and found.peak_memory_bytes == 0
    assert found.schema_version == SCHEMA_VERSION
    lists = {f.name for f in dataclasses.fields(Record) if str(f.type).startswith("list")}
    assert all(isinstance(getattr(found, name), list) for name in lists)


def test_versions_stand_in_one_folder_one_segment_and_one_report(tmp_path: Path) -> None:
    store = Store(tmp_path, "quick", "test-2c-01234567")
    store.folder.mkdir(parents=True)
    for path in FIXTURES:
        shutil.copy(path, store.folder)
    before = open_folder(tmp_path / "quick")
    assert compact(store) == len(FIXTURES) == len(segments.places(store.folder))
    after = open_folder(tmp_path / "quick")
    assert list(map(repr, after)) == list(map(repr, before)) and len(after) == len(FIXTURES)
    assert "3/3 ok" in told(after, None)["md"] or "1/1 ok" in told(after, None)["md"]
