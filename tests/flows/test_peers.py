"""What the harness is measured against: a trial that fails is said by its own error, and each trial has its folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"
WORK = {"hidden": 4, "batch": 8, "updates": 4, "evaluations": 2, "rate": 0.01, "clip": 1.0, "outputs": 2}


@pytest.mark.slow
@pytest.mark.cluster
def test_tunes_trials_write_beside_each_other_and_one_that_fails_is_named_with_its_error(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {f"{split}_inputs": rng.random((16, 3, 1), np.float32) for split in ("train", "valid", "test")}
    np.savez(tmp_path / "data.npz", **arrays, **{name.replace("inputs", "targets"): np.zeros(16) for name in arrays})
    (tmp_path / "work.json").write_text(json.dumps(WORK))
    command = [sys.executable, str(PEERS / "tune_lightning.py"), str(tmp_path), "2", "gru-0", "gru-1", "no-such-2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1 and "seconds" not in done.stdout, done.stdout + done.stderr
    assert "trial no-such-2: " in done.stderr and "KeyError: 'no-such'" in done.stderr
    assert "trial gru" not in done.stderr
    logs = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("lightning_logs/*")}
    assert logs == {f"logs/gru-{seed}/lightning_logs/version_0" for seed in range(2)}
