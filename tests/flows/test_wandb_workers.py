"""Two workers of each of three trials: W&B has three runs, one a trial, each step once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from wandb_file import read

from harness.storage.store import open_folder

BENCHMARK = """
question: How many runs do two workers of three trials make?
name: ranks
seeds: 3
set: {hidden_size: 4, batch_size: 16, evaluations: 2, examples: 128, workers: 2}
sweep: {task: {name: adding, length: 8, train_examples: 64, valid_examples: 32, test_examples: 32}, cell: gru}
"""


@pytest.mark.slow
@pytest.mark.cluster
def test_two_workers_of_three_trials_are_three_runs_of_one_group(tmp_path: Path) -> None:
    (tmp_path / "ranks.yaml").write_text(BENCHMARK)
    command = [sys.executable, "-m", "harness", "run", "ranks.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {record.trial_id: record for record in open_folder(tmp_path / "results" / "ranks")}
    runs = [read(path) for path in (tmp_path / "results").rglob("*.wandb")]
    assert len(runs) == 3 and {run["config"]["trial_id"] for run in runs} == found.keys()
    assert {run["group"] for run in runs} == {"ranks"}
    for run in runs:
        points = [row["tokens"] for row in run["history"] if "valid_mse" in row]
        assert points == found[run["config"]["trial_id"]].curve_tokens and len(points) == 2
