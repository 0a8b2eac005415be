"""Searches on real Ray: Tune's engines come to what this process comes to, stop what is behind, and copy to the bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from harness.engine import run_trial
from harness.record import Record
from harness.storage.store import open_folder
from harness.trial import Trial

pytestmark = pytest.mark.slow

TEXT = """\
question: Which cell, each tuned as much as the other?
name: tuned
set: {examples: 640, batch_size: 16, hidden_size: 4, evaluations: 5}
sweep: {task: {name: adding, length: 5, train_examples: 64, valid_examples: 32, test_examples: 32}, cell: [elman, gru]}
search:
  kind: KIND
  tries: 5
  space:
    learning_rate: {from: 0.0001, to: 0.3, scale: log}
    clip_norm: [0.5, 1.0, 2.0]
"""


def search(kind: str, folder: Path, *options: str) -> list[Record]:
    """Run a search as a user does, and return its records."""
    (folder / "tuned.yaml").write_text(TEXT.replace("KIND", kind))
    command = [sys.executable, "-m", "harness", "run", str(folder / "tuned.yaml"), "--results", str(folder / "r")]
    done = subprocess.run(
        [*command, "--wandb", "off", *options], capture_output=True, text=True, timeout=280, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return open_folder(folder / "r" / "tuned")


def numbers(records: list[Record]) -> list[str]:
    return sorted(repr((r.search, r.without_times())) for r in records)


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


def test_optuna_on_ray_makes_the_tries_that_it_makes_in_this_process(tmp_path):
    for name in ("ray", "here"):
        (tmp_path / name).mkdir()
    ray = search("optuna", tmp_path / "ray")
    assert len(ray) == 2 * 5 and numbers(ray) == numbers(search("optuna", tmp_path / "here", "--on", "inline"))


def test_what_asha_stops_is_a_record_that_is_not_made_again(tmp_path):
    records = search("asha\n  reduction: 2", tmp_path)
    ended = Counter(record.status for record in records)
    assert len(records) == 2 * 5 and ended["stopped"] >= 2 and ended["ok"] >= 2
    for record in (record for record in records if record.status == "stopped"):
        own, digest = record.trial_id.split(".")
        assert Trial.from_canonical(record.trial).id == own and json.loads(record.search)["search"] == digest
        assert 1 <= len(record.curve_valid_score) < 5 and record.updates < 40 and record.score != record.score
        assert "stopped early by its search at evaluation" in record.reason
    before = stamps(tmp_path / "r")
    search("asha\n  reduction: 2", tmp_path)
    assert stamps(tmp_path / "r") == before
    everything = search("random", tmp_path, "--on", "inline")  # for which a stop is no end
    whole = {r.trial_id for r in everything if r.status == "ok"}
    assert len(whole) == 2 * 5 and {r.trial_id.split(".")[0] for r in records} == whole


def test_a_population_member_is_its_schedule_and_a_killed_one_comes_to_the_same(tmp_path):
    kind = "population\n  every: 2"
    records = search(kind, tmp_path)
    assert Counter(record.cell for record in records) == {"elman": 5, "gru": 5}
    assert {json.loads(record.search)["try"] for record in records} == set(range(5))
    bred = [record for record in records if record.settings()["changes"]]
    assert bred and all(0.0001 <= change.get("learning_rate", 0.1) <= 0.3 for r in bred for change in _changes(r))
    for record in bred[:2]:  # alone, without a population, from its first update
        alone = run_trial(Trial.from_canonical(record.trial))
        assert alone.weights_sha256 == record.weights_sha256
        assert alone.gradient_norms == record.gradient_norms and alone.curve_valid_score == record.curve_valid_score
    for record in [record for record in records if record.cell == "elman"][1:3]:  # as if killed before these
        next((tmp_path / "r").rglob(f"{record.trial_id}.parquet")).unlink()
    before = stamps(tmp_path / "r")
    assert numbers(search(kind, tmp_path)) == numbers(records)
    assert before.items() <= stamps(tmp_path / "r").items()


def _changes(record: Record) -> list[dict[str, float]]:
    return record.settings()["changes"]
