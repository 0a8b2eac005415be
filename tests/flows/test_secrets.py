"""Whatever secret lies in the environment of a run on Ray: no output of it holds the secret."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

import pytest

from harness.store import open_folder

pytestmark = pytest.mark.slow
BENCHMARK = """
question: Who can keep a secret?
seeds: 1
set: {hidden_size: 4, batch_size: 16, evaluations: 1, examples: 64}
sweep:
  - task: {name: adding, length: 8, train_examples: 64, valid_examples: 32, test_examples: 32}
    cell: gru
    workers: [1, 2]
    learning_rate: [0.01, 1.0e+30]
"""
NAMES = ("WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "DB_PASSWORD", "RAY_AUTH_TOKEN", "GITHUB_TOKEN")


def test_no_output_of_a_run_holds_a_secret_of_its_environment(tmp_path):
    canary = "zq9canary" + secrets.token_hex(16)
    (tmp_path / "kept.yaml").write_text(BENCHMARK)
    for name in (".env", ".netrc", "id_rsa"):
        (tmp_path / name).write_text(canary)
    command, environment = (
        [sys.executable, "-m", "harness", "run", "kept.yaml"],
        os.environ | dict.fromkeys(NAMES, canary),
    )
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    records = open_folder(tmp_path / "results" / "kept")
    assert done.returncode in (0, 5) and len(records) == 4, done.stdout + done.stderr
    assert canary not in done.stdout + done.stderr + repr(records)
    files = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert {".log", ".wandb", ".html", ".md"} <= {path.suffix for path in files}
    for path in files:
        assert canary.encode() not in path.read_bytes() and canary not in path.name, path
