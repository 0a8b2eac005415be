"""A stranger's Ray runs on this machine, holds the ports that Ray prefers, and RAY_ADDRESS names it: a command starts
its own all the same, and runs everything there."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from harness.store import open_folder

pytestmark = [pytest.mark.slow, pytest.mark.cluster]
BENCHMARK = """
question: Whose cluster is it?
seeds: 1
set: {hidden_size: 4, batch_size: 32, evaluations: 1, examples: 640}
sweep:
  - task: {name: adding, length: 8, train_examples: 64, valid_examples: 32, test_examples: 32}
    cell: gru
    workers: [1, 2]
"""
PORTS = (6379, 8265, 10001)
"""Ray's own: of the head, of its dashboard, of clients."""
STRANGER = """
import ray
from ray.cluster_utils import Cluster

head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 10**8}
cluster = Cluster(initialize_head=True, connect=True, head_node_args=head)
print(cluster.address, flush=True)
input()
import ray._private.state
print(len(ray._private.state.jobs()), flush=True)
"""


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A cluster without a CPU, on which no trial could ever run, and an environment that names it."""
    ours = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    ours["RAY_USAGE_STATS_ENABLED"] = "0"
    with ExitStack() as held, open(tmp_path / "stranger.log", "w") as log:
        for port in PORTS:
            with suppress(OSError):  # whoever has it already serves as well
                held.enter_context(socket.create_server(("127.0.0.1", port)))
        given = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log, "text": True}
        with subprocess.Popen([sys.executable, "-c", STRANGER], env=ours, **given) as process:
            address = process.stdout.readline().strip()
            assert address, (tmp_path / "stranger.log").read_text()
            yield process, ours | {"RAY_ADDRESS": address}
            process.kill()


def test_a_strangers_cluster_is_left_alone_and_ports_in_use_are_no_matter(stranger, tmp_path):
    process, environment = stranger
    (tmp_path / "whose.yaml").write_text(BENCHMARK)
    command = [sys.executable, "-m", "harness", "run", "whose.yaml", "--wandb", "off"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [record.status for record in open_folder(tmp_path / "results" / "whose")] == ["ok", "ok"]
    told, _ = process.communicate("\n", timeout=60)
    assert told.strip() == "1", "nobody but itself has ever joined the stranger's cluster"
