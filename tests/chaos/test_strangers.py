"""A command beside a stranger's Ray, which RAY_ADDRESS names, where the ports that Ray prefers are taken, and with
secrets in its environment: it runs everything on a Ray of its own, and no output of it holds a secret."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
import real_head

from harness.storage.store import open_folder

pytestmark = [pytest.mark.slow, pytest.mark.cluster]
BENCHMARK = """
question: Whose cluster is it, and who can keep a secret?
name: whose
seeds: 1
set: {hidden_size: 4, batch_size: 16, evaluations: 1, examples: 64}
sweep:
  - {task: TASK, cell: gru, workers: [1, 2], learning_rate: 0.01}
  - {task: TASK, cell: gru, learning_rate: 1.0e+30}
""".replace("TASK", "{name: adding, length: 8, train_examples: 64, valid_examples: 32, test_examples: 32}")
PORTS = (6379, 8265, 10001)
"""Ray's own: of the head, of its dashboard, of clients."""
SECRETS = ("WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "DB_PASSWORD", "RAY_AUTH_TOKEN", "GITHUB_TOKEN")


class Done(NamedTuple):
    """What came of the command."""

    code: int
    said: str
    folder: Path
    secret: str
    joined: int  # commands that have ever joined the stranger's cluster


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Run it. The stranger's cluster has no CPU, so that no trial could ever run there."""
    folder, secret = tmp_path_factory.mktemp("whose"), "zq9canary" + secrets.token_hex(16)
    (folder / "whose.yaml").write_text(BENCHMARK)
    for name in (".env", ".netrc", "id_rsa"):
        (folder / name).write_text(secret)
    with ExitStack() as held:
        for port in PORTS:
            with suppress(OSError):  # whoever has it already serves as well
                held.enter_context(socket.create_server(("127.0.0.1", port)))
        stranger = held.enter_context(real_head.serving(num_cpus=0))
        found = subprocess.run(
            [sys.executable, "-m", "harness", "run", "whose.yaml"], cwd=folder, capture_output=True, text=True,
            env=stranger.environment | dict.fromkeys(SECRETS, secret), timeout=280, check=False,
        )  # fmt: skip
        return Done(found.returncode, found.stdout + found.stderr, folder, secret, stranger.end())


def test_a_strangers_cluster_is_left_alone_and_ports_in_use_are_no_matter(done):
    assert done.code == 5, done.said
    records = open_folder(done.folder / "results" / "whose")
    ended = sorted((record.settings()["workers"], record.status) for record in records)
    assert ended == [(1, "diverged"), (1, "ok"), (2, "ok")], done.said
    assert done.joined == 0, "nobody has ever joined the stranger's cluster"


def test_no_output_of_a_run_holds_a_secret_of_its_environment(done):
    records = open_folder(done.folder / "results" / "whose")
    assert len(records) == 3 and done.secret not in done.said + repr(records)
    files = [path for path in (done.folder / "results").rglob("*") if path.is_file()]
    assert {".log", ".wandb", ".html", ".md"} <= {path.suffix for path in files}
    for path in files:
        assert done.secret.encode() not in path.read_bytes() and done.secret not in path.name, path
