"""Results in an object store, from a cluster: trials of one process and of two write there, and nowhere else."""

from __future__ import annotations

import subprocess
import sys

import pytest
import real_head
import s3_server
from together import without_ray

from harness import spec
from harness.storage.objects import place
from harness.storage.store import open_folder

pytestmark = [pytest.mark.slow, pytest.mark.cluster]
BENCHMARK = """
question: Does it come to the store?
name: far
seeds: 1
set: {hidden_size: 4, batch_size: 32, evaluations: 2, examples: 640}
sweep:
  - task: {name: adding, length: 8, train_examples: 64, valid_examples: 32, test_examples: 32}
    cell: gru
    workers: [1, 2]
"""


def test_a_cluster_writes_to_an_object_store(tmp_path, monkeypatch):
    for name, value in s3_server.PLAIN.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "far.yaml").write_text(BENCHMARK)
    command = [sys.executable, "-m", "harness", "run", "far.yaml", "--wandb", "off"]

    def ran(*words: str, **environment: str) -> None:
        done = subprocess.run(
            [*command, *words], cwd=tmp_path, env=environment or None, capture_output=True, text=True, timeout=280,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert not [secret for secret in s3_server.KEYS.values() if secret in done.stdout + done.stderr]

    with s3_server.serving() as server, real_head.serving(num_cpus=2) as head:
        s3_server.make("bucket", server)
        far = f"s3://bucket/cluster?endpoint_override={server}&scheme=http"
        ran("--on", "cluster", "--results", far, **head.environment)
        found = open_folder(place(far) / "far")
        left = [str(path) for path in (place(far) / "far").rglob("*") if path.is_file()]
    assert not list(tmp_path.rglob("*.parquet")) and not [path for path in left if ".checkpoint" in path], left
    near = {trial.id: without_ray(trial, tmp_path) for trial in spec.load(str(tmp_path / "far.yaml")).trials}
    assert {record.settings()["workers"] for record in found} == {1, 2} and len(found) == len(near)
    for record in found:
        assert repr(record.without_times()) == repr(near[record.trial_id].without_times())
