"""One real head: looked at, submitted to, followed, stopped, gone on with, and its records brought home."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from harness.storage.store import open_folder

pytestmark = pytest.mark.cluster
BENCHMARK = """
question: Does it go?
seeds: 1
set: {hidden_size: 4, examples: EXAMPLES}
sweep:
  - {task: {name: adding, length: 8}, cell: [elman, gru]}
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def until(true, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.5)


@pytest.fixture
def place(tmp_path):
    """A head of our own, with a token, in a session folder of its own; it ends with the test."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "go.yaml").write_text(BENCHMARK.replace("EXAMPLES", "200"))
    (tmp_path / "benchmarks" / "long.yaml").write_text(BENCHMARK.replace("EXAMPLES", "20000000"))
    port, gcs = free_port(), free_port()
    (tmp_path / "here.yaml").write_text(f"dashboard: http://127.0.0.1:{port}\nresults: {tmp_path}/shared\n")
    session = tempfile.mkdtemp(prefix="rh-", dir="/tmp")  # a short name: sockets lie below it
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    environment |= {"RAY_TMPDIR": session, "RAY_USAGE_STATS_ENABLED": "0", "RAY_JOB_STOP_WAIT_TIME_S": "30"}
    environment["RAY_worker_niceness"] = "0"  # else trials wait for whatever else runs on a busy machine: 270 s
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=2"]
    command += [f"--port={gcs}", f"--dashboard-port={port}", "--node-ip-address=127.0.0.1", f"--temp-dir={session}"]
    command += ["--object-store-memory=100000000", "--disable-usage-stats"]
    with open(tmp_path / "head.log", "w") as log:
        head = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield tmp_path, environment, port
    finally:
        os.killpg(head.pid, signal.SIGTERM)
        try:
            head.wait(60)  # a node drains for up to 30 seconds
        except subprocess.TimeoutExpired:
            os.killpg(head.pid, signal.SIGKILL)
            head.wait(30)
        shutil.rmtree(session, ignore_errors=True)


def answers(port: int, token: str) -> bool:
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/api/version", headers={"Authorization": f"Bearer {token}"})
    try:
        return urllib.request.urlopen(asked, timeout=5).status == 200
    except (urllib.error.URLError, OSError):
        return False


def test_a_benchmark_goes_to_a_cluster_and_comes_home(place):
    folder, environment, port = place
    token = environment["RAY_AUTH_TOKEN"]
    until(lambda: answers(port, token), 90)
    said = []

    def harness(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness", *words]
        given = {"cwd": folder, "env": environment | more, "capture_output": True, "text": True, "timeout": 300}
        done = subprocess.run(command, check=False, **given)
        said.append(f"$ harness {' '.join(words)}\n{done.stdout}{done.stderr}")
        print(said[-1], flush=True)
        return done

    assert harness("submit", "benchmarks/go.yaml", "--on", "here.yaml", RAY_AUTH_TOKEN="0" * 32).returncode == 2
    assert "ok       nodes" in harness("doctor", "--on", "here.yaml").stdout
    assert harness("submit", "benchmarks/go.yaml", "--on", "here.yaml").returncode == 0
    followed = harness("status", "--follow")
    assert followed.returncode == 0 and "SUCCEEDED" in followed.stdout
    assert "2 records came" in harness("fetch").stdout
    records = open_folder(folder / "results" / "go")
    assert [record.status for record in records] == ["ok", "ok"]
    assert harness("resume").returncode == 2

    assert harness("submit", "benchmarks/long.yaml", "--on", "here.yaml").returncode == 0
    until(lambda: len(list((folder / "shared" / "long").glob(".locks/*"))) == 2, 120)  # both trials are claimed
    time.sleep(5)
    assert harness("stop").returncode == 0
    assert harness("status").returncode == 75
    halfway = list((folder / "shared" / "long").glob("*/*.checkpoint/manifest.json"))
    assert len(halfway) == 2, "both trials wrote down how far they had come"
    assert harness("resume").returncode == 0
    places = (folder / "shared" / "long" / "logs").glob
    until(lambda: any("goes on from update" in path.read_text(errors="replace") for path in places("*.log")), 120)
    assert "2 trials go on from their checkpoints" in harness("logs").stdout
    assert harness("stop").returncode == 0
    logs = [path.read_text(errors="replace") for path in (folder / "shared").rglob("*.log")]
    assert not [text for text in [*said, *logs] if token in text]
