"""A stranger's Ray runs on this machine, holds the ports that Ray prefers, and RAY_ADDRESS names it: a command starts
its own all the same, and runs everything there."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
import real_head
from real_head import Head

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


@pytest.fixture
def stranger() -> Iterator[Head]:
    """A cluster without a CPU, on which no trial could ever run."""
    with ExitStack() as held:
        for port in PORTS:
            with suppress(OSError):  # whoever has it already serves as well
                held.enter_context(socket.create_server(("127.0.0.1", port)))
        yield held.enter_context(real_head.serving(num_cpus=0))


def test_a_strangers_cluster_is_left_alone_and_ports_in_use_are_no_matter(stranger, tmp_path):
    (tmp_path / "whose.yaml").write_text(BENCHMARK)
    command = [sys.executable, "-m", "harness", "run", "whose.yaml", "--wandb", "off"]
    done = subprocess.run(
        command, cwd=tmp_path, env=stranger.environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [record.status for record in open_folder(tmp_path / "results" / "whose")] == ["ok", "ok"]
    assert stranger.end() == 0, "nobody has ever joined the stranger's cluster"
