"""Packs on Ray: one worker trains a pack, and a pack whose worker dies goes on in halves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from packs import differences

from harness.record import Record
from harness.storage.store import open_folder

BENCHMARK = """
question: Do packs hold on Ray?
name: packs
seeds: 4
set: {hidden_size: 8, batch_size: 16, evaluations: 2, precision: float64}
sweep:
  - task: {name: digits, steps: 8}
    cell: elman
    examples: %d
"""


def started(file: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness", "run", str(file), "--wandb", "off", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def written(folder: Path, updates: int) -> Path:
    file = folder / "packs.yaml"
    file.write_text(BENCHMARK % (16 * updates))
    return file


def records(results: Path) -> dict[str, Record]:
    return {record.trial_id: record for record in open_folder(results / "packs")}


@pytest.mark.slow
def test_a_worker_trains_a_pack_to_the_same_records_as_this_process(tmp_path):
    file = written(tmp_path, 40)
    for where in ("tune", "inline"):
        child = started(file, "--on", where, "--pack", "4", "--results", str(tmp_path / where))
        said, _ = child.communicate(timeout=240)
        assert child.returncode == 0 and "4 trials train in 1 pack of 4" in said, said
    one, other = records(tmp_path / "tune"), records(tmp_path / "inline")
    assert len(one) == 4 and {record.packed for record in one.values()} == {4}
    assert all(repr(one[name].without_times()) == repr(other[name].without_times()) for name in one | other)


@pytest.mark.slow
def test_a_pack_whose_worker_dies_goes_on_in_halves(tmp_path):
    """As where the system ends a process that has taken all memory."""
    file, results = written(tmp_path, 1_000), tmp_path / "results"
    child = started(file, "--pack", "4", "--results", str(results), "--checkpoint-seconds", "0.2")
    deadline = time.monotonic() + 200
    while len(list(results.glob("packs/*/*.checkpoint/manifest.json"))) < 4:
        assert time.monotonic() < deadline and child.poll() is None, child.poll()
        time.sleep(0.05)
    holders = {int(re.findall(r"\d+", lock.read_text())[0]) for lock in results.glob("packs/.locks/*")}
    assert len(holders) == 1 and os.getpid() not in holders
    os.kill(holders.pop(), signal.SIGKILL)
    said, _ = child.communicate(timeout=240)
    assert child.returncode == 0, said
    found = records(results)
    assert len(found) == 4 and {record.packed for record in found.values()} == {2}
    assert all(record.attempts == 2 for record in found.values())
    child = started(file, "--on", "inline", "--results", str(tmp_path / "alone"))
    assert child.communicate(timeout=240) and child.returncode == 0
    assert not [
        d for name, record in records(tmp_path / "alone").items() for d in differences(record, found[name], 1e-8)
    ]
