"""A benchmark whose results lie in an object store: killed, gone on with from another machine, run twice at once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import s3_server

from harness.record import Record
from harness.storage.objects import place
from harness.storage.store import open_folder

pytestmark = pytest.mark.slow  # a claim of a killed process lapses after 20 seconds
BENCHMARK = """
question: Does a trial go on elsewhere?
name: far
seeds: 2
set: {hidden_size: 16, layers: 2, dropout: 0.2, batch_size: 32, learning_rate: 0.01, evaluations: 4}
sweep:
  - task: {name: adding, length: 20, train_examples: 500, valid_examples: 100, test_examples: 100}
    cell: lstm
    bptt_length: 8
    clip_norm: 1.0
    examples: 19200
"""
WAIT = 240.0


@pytest.fixture(scope="module")
def server():
    with s3_server.serving() as address:
        s3_server.make("bucket", address)
        yield address


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name, value in s3_server.PLAIN.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def machines(tmp_path) -> list[Path]:
    """Folders of two machines, which share nothing but the store."""
    folders = [tmp_path / name for name in ("one", "another")]
    for folder in folders:
        folder.mkdir()
        (folder / "far.yaml").write_text(BENCHMARK)
    return folders


def start(folder: Path, results: str, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "harness", "run", "far.yaml", "--results", results, "--on", "inline", *words]
    with open(folder / "log", "ab") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)


def says(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def records(results: str) -> dict[str, Record]:
    found = open_folder(place(results) / "far")
    assert len({record.trial_id for record in found}) == len(found)
    return {record.trial_id: record for record in found}


def same(a: dict[str, Record], b: dict[str, Record]) -> bool:
    plain = [[record.without_times() for _, record in sorted(each.items())] for each in (a, b)]
    return repr(plain[0]) == repr(plain[1])


def test_a_killed_run_goes_on_from_another_machine_and_two_at_once_share_the_rest(server, machines):
    here, there = machines
    far = f"s3://bucket/killed?endpoint_override={server}&scheme=http"
    process = start(here, far, "--wandb", "off", "--checkpoint-seconds", "0.2")
    deadline = time.monotonic() + WAIT
    while not list((place(far) / "far").glob("*/*.checkpoint/manifest.json")):
        assert process.poll() is None and time.monotonic() < deadline, (here / "log").read_text()
        time.sleep(0.1)
    process.kill()
    process.wait()
    begin = time.monotonic()
    both = [start(folder, far, "--wandb", "off", "--checkpoint-seconds", "0.2") for folder in (there, here)]
    assert [each.wait(WAIT) for each in both] == [0, 0], (there / "log").read_text() + (here / "log").read_text()
    print(f"two at once were done {time.monotonic() - begin:.0f} s after a kill; a claim lapses after 20 s", flush=True)
    found = records(far)
    assert start(here, "near", "--wandb", "off").wait(WAIT) == 0
    assert same(found, records(str(here / "near"))) and max(record.attempts for record in found.values()) == 2
    left = [str(path) for path in (place(far) / "far").rglob("*") if path.is_file()]
    assert not [path for path in left if ".checkpoint" in path or ".locks" in path or ".probe" in path], left
    lines = says(there, "report", "far.yaml", "--results", far)
    assert "2/2 ok" in lines and "s3://bucket/killed/far/far.md" in lines
    assert "2/2 ok" in says(there, "report", far.replace("/killed", "/killed/far"))
    assert "2 of them stored" in says(there, "show", "far.yaml", "--results", far)
    assert "adding" in says(there, "sample", min(found), "--results", far)
    said = [path.read_text(errors="replace") for folder in machines for path in folder.rglob("*") if path.is_file()]
    assert not [text for text in said for secret in s3_server.KEYS.values() if secret in text]
