"""The command, killed or asked to stop while trials train: it goes on from their checkpoints to the same records."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from wandb_file import read as read_wandb

from harness.record import Record
from harness.store import open_folder

BENCHMARK = """
question: Does a trial go on?
name: long
seeds: {seeds}
set: {{hidden_size: 16, layers: 2, dropout: 0.2, batch_size: 32, learning_rate: 0.01, evaluations: 4}}
sweep:
  - task: {{name: adding, length: 20, train_examples: 500, valid_examples: 100, test_examples: 100}}
    cell: lstm
    bptt_length: 8
    clip_norm: 1.0
    select: best
    examples: {examples}
"""
WAIT = 240.0


@pytest.fixture(scope="module")
def benchmark_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trials of about 3 seconds of training each, where this machine has nothing else to do."""
    path = tmp_path_factory.mktemp("benchmark") / "long.yaml"
    path.write_text(BENCHMARK.format(seeds=2, examples=32 * 600))
    return path


@pytest.fixture(scope="module")
def whole(benchmark_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """The records of a run that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert finish(start(benchmark_file, folder, "inline", 1e9)) == 0
    return records(folder)


def start(path: Path, results: Path, on: str, seconds: float, wandb: str = "off") -> subprocess.Popen[str]:
    """Start the command as a user does, in a group of processes of its own."""
    words = ["run", str(path), "--results", str(results), "--on", on, "--wandb", wandb]
    words += ["--checkpoint-seconds", str(seconds)]
    with open(results.with_suffix(".log"), "a") as log:
        command = [sys.executable, "-m", "harness", *words]
        return subprocess.Popen(command, stdout=log, stderr=log, text=True, process_group=0)


def finish(process: subprocess.Popen[str]) -> int:
    return process.wait(timeout=WAIT)


def records(folder: Path) -> dict[str, Record]:
    return {record.trial_id: record for record in open_folder(folder / "long")}


def same(a: dict[str, Record], b: dict[str, Record]) -> bool:
    plain = [{key: record.without_times() for key, record in sorted(each.items())} for each in (a, b)]
    return repr(plain[0]) == repr(plain[1])


def wait_for(what: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until something is there, or the command is over."""
    deadline = time.monotonic() + WAIT
    while not what() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def manifests(folder: Path) -> list[Path]:
    return list(folder.glob("long/*/*.checkpoint/manifest.json"))


def newer(folder: Path, than: int) -> bool:
    """Whether a checkpoint was written after that moment."""
    return any(path.stat().st_mtime_ns > than for path in manifests(folder))


def said(folder: Path) -> str:
    return folder.with_suffix(".log").read_text()


def one_wandb_run_each(folder: Path, found: dict[str, Record]) -> None:
    """However often a trial was started, W&B has one run of it, and in that each step once."""
    runs = [read_wandb(path) for path in folder.glob("long/wandb/offline-run-*/run-*.wandb")]
    assert sorted(run["config"]["trial_id"] for run in runs) == sorted(found), said(folder)
    for run in runs:
        record, points = found[run["config"]["trial_id"]], [row for row in run["history"] if "valid_mse" in row]
        assert [row["valid_mse"] for row in points] == pytest.approx(record.curve_valid_score)
        steps = [row["tokens"] for row in points]
        assert steps == record.curve_tokens and len(set(steps)) == len(steps) == 4


@pytest.mark.parametrize("on", ["inline", pytest.param("tune", marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_goes_on_from_its_checkpoints(on, benchmark_file, whole, tmp_path):
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng, folder = random.Random(seed), tmp_path / on
    for _ in range(3):
        process = start(benchmark_file, folder, on, 0.2, "offline")
        wait_for(partial(newer, folder, time.time_ns()), process)
        time.sleep(rng.random())
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert finish(start(benchmark_file, folder, on, 0.2, "offline")) == 0, said(folder)
    found = records(folder)
    one_wandb_run_each(folder, found)
    assert same(found, whole) and max(record.attempts for record in found.values()) > 1
    assert not list(folder.glob("long/*/*.checkpoint*")), "a trial that has its record needs none"
    assert "goes on from its checkpoint" in said(folder) or "go on from their checkpoints" in said(folder)


@pytest.mark.parametrize(("on", "signum"), [("inline", signal.SIGTERM), ("tune", signal.SIGINT)])
def test_asked_to_stop_once_it_saves_its_last_update(on, signum, benchmark_file, whole, tmp_path):
    folder = tmp_path / on
    process = start(benchmark_file, folder, on, 0.2)
    wait_for(lambda: manifests(folder), process)
    asked = time.time_ns()
    if signum == signal.SIGINT:
        os.killpg(process.pid, signum)  # as a terminal does: every process of the group hears Ctrl-C, Ray's too
    else:
        process.send_signal(signum)
    assert finish(process) == 75, said(folder)
    assert "stopping: trials that run" in said(folder) and "0 of 2 trials are stored" in said(folder)
    assert f"{len(manifests(folder))} at a checkpoint; type the same command to go on" in said(folder)
    assert newer(folder, asked), "it was written after the request"
    assert not list(folder.glob("long/.stop*"))
    assert finish(start(benchmark_file, folder, on, 1e9)) == 0, said(folder)
    assert same(records(folder), whole)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_started_again_from_its_checkpoint(benchmark_file, whole, tmp_path):
    """The command lives on, and needs no other one."""
    folder = tmp_path / "tune"
    process = start(benchmark_file, folder, "tune", 0.2)
    wait_for(lambda: manifests(folder), process)
    victim = manifests(folder)[0].parent.name.removesuffix(".checkpoint")
    holder = (folder / "long" / ".locks" / victim).read_text()  # "process 123 on host"
    os.kill(int(holder.split()[1]), signal.SIGKILL)
    assert finish(process) == 0, said(folder)
    found = records(folder)
    assert same(found, whole) and found[victim].attempts == 2


def test_asked_twice_it_ends_at_once_and_nothing_is_lost(benchmark_file, whole, tmp_path):
    folder = tmp_path / "inline"
    process = start(benchmark_file, folder, "inline", 0.2)
    wait_for(lambda: manifests(folder), process)
    for _ in range(2):
        os.kill(process.pid, signal.SIGINT)
        time.sleep(0.01)
    assert finish(process) == 75 and "stopped; 0 of 2 trials are stored" in said(folder)
    assert finish(start(benchmark_file, folder, "inline", 1e9)) == 0, said(folder)
    assert same(records(folder), whole)


def test_a_damaged_checkpoint_is_set_aside_with_a_message_and_the_numbers_are_right(benchmark_file, whole, tmp_path):
    folder = tmp_path / "inline"
    process = start(benchmark_file, folder, "inline", 0.2)
    wait_for(lambda: manifests(folder), process)
    process.send_signal(signal.SIGTERM)
    assert finish(process) == 75
    for path in manifests(folder)[0].parent.iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    assert finish(start(benchmark_file, folder, "inline", 1e9)) == 0
    assert "it starts anew" in said(folder) and same(records(folder), whole)
