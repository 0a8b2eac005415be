"""The command, killed or asked to stop while trials train: it goes on from their checkpoints to the same records."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from wandb_file import read as read_wandb

from harness.record import Record
from harness.storage.store import open_folder

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
IMPATIENT = """
import sys
from harness.launch import pulse
pulse.SILENCE = float(sys.argv[1])
from harness.cli.main import main
sys.exit(main(sys.argv[2:]))
"""
SILENCE = 15
"""Seconds after which a process counts as frozen, here instead of the command's own."""
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
    return uninterrupted(benchmark_file, tmp_path_factory.mktemp("whole"))


def uninterrupted(path: Path, folder: Path) -> dict[str, Record]:
    assert finish(start(path, folder, "inline", 1e9)) == 0
    return records(folder)


def start(
    path: Path, results: Path, on: str, seconds: float, wandb: str = "off", how: tuple[str, ...] = ("-m", "harness")
) -> subprocess.Popen[str]:
    """Start the command, as a user does, in a group of processes of its own."""
    words = ["run", str(path), "--results", str(results), "--on", on, "--wandb", wandb]
    words += ["--checkpoint-seconds", str(seconds)]
    with open(results.with_suffix(".log"), "a") as log:
        command = [sys.executable, *how, *words]
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


def newer(folder: Path, than: int, trial: str = "*") -> bool:
    """Whether a checkpoint was written after that moment; to go on from one writes the manifest alone."""
    for path in folder.glob(f"long/*/{trial}.checkpoint/[0-9]*-*"):
        with suppress(FileNotFoundError):  # the one after the next has taken its place
            if path.stat().st_mtime_ns > than:
                return True
    return False


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


def kill_at_random(path: Path, folder: Path, on: str, rng: random.Random, most: float) -> None:
    """Start the command, and kill it at most so many seconds after its first new checkpoint."""
    process = start(path, folder, on, 0.2, "offline")
    wait_for(partial(newer, folder, time.time_ns()), process)
    time.sleep(most * rng.random())
    process.send_signal(signal.SIGKILL)
    process.wait()


def check_stopped(folder: Path, process: subprocess.Popen[str], asked: int) -> None:
    assert finish(process) == 75, said(folder)
    assert "stopping: trials that run" in said(folder) and "0 of 2 trials are stored" in said(folder)
    assert f"{len(manifests(folder))} at a checkpoint; type the same command to go on" in said(folder)
    assert newer(folder, asked), "it was written after the request"
    assert not list(folder.glob("long/.stop*"))


def check_went_on(folder: Path, whole: dict[str, Record]) -> None:
    found = records(folder)
    one_wandb_run_each(folder, found)
    assert same(found, whole) and max(record.attempts for record in found.values()) > 1
    assert not list(folder.glob("long/*/*.checkpoint*")), "a trial that has its record needs none"
    assert "goes on from its checkpoint" in said(folder) or "go on from their checkpoints" in said(folder)


def attempt(folder: Path, trial: str) -> int:
    """Which attempt at a trial runs."""
    (path,) = folder.glob(f"long/*/{trial}.checkpoint/manifest.json")
    found: int = json.loads(path.read_text())["attempts"]
    return found


def holders(folder: Path) -> list[int]:
    """The processes that train, or trained last; "process 123 on host" is what a lock says."""
    words = [path.read_text().split() for path in folder.glob("long/.locks/*")]
    return [int(each[1]) for each in words if len(each) > 1]


def kill_orphans(folder: Path) -> None:
    """Kill what trains on after its command was killed, and would soon be done."""
    for holder in holders(folder):
        with suppress(ProcessLookupError):
            os.kill(holder, signal.SIGKILL)


def hit(folder: Path, trial: str, signum: signal.Signals) -> int:
    """Send a signal to the process that trains a trial, and return its number."""
    holder = int((folder / "long" / ".locks" / trial).read_text().split()[1])  # "process 123 on host"
    os.kill(holder, signum)
    return holder


@pytest.fixture
def rng() -> random.Random:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.mark.slow
def test_killed_at_random_moments_it_goes_on_from_its_checkpoints(benchmark_file, whole, rng, tmp_path):
    folder = tmp_path / "inline"
    for _ in range(3):
        kill_at_random(benchmark_file, folder, "inline", rng, 1.0)
    assert finish(start(benchmark_file, folder, "inline", 0.2, "offline")) == 0, said(folder)
    check_went_on(folder, whole)


@pytest.mark.slow
def test_asked_to_stop_once_it_saves_its_last_update(benchmark_file, whole, tmp_path):
    folder = tmp_path / "inline"
    process = start(benchmark_file, folder, "inline", 0.2)
    wait_for(lambda: manifests(folder), process)
    asked = time.time_ns()
    process.send_signal(signal.SIGTERM)
    check_stopped(folder, process, asked)
    assert finish(start(benchmark_file, folder, "inline", 1e9)) == 0, said(folder)
    assert same(records(folder), whole)


@pytest.mark.slow
def test_on_ray_whatever_ends_it_it_goes_on_from_its_checkpoints(rng, tmp_path):
    """The command killed with all that trains, then asked to stop by Ctrl-C; then a trial's process frozen for good and
    the other's killed, for which no other command is needed. Trials of about 9 seconds: it all comes to one of them."""
    folder, benchmark_file = tmp_path / "tune", tmp_path / "long.yaml"
    benchmark_file.write_text(BENCHMARK.format(seeds=2, examples=32 * 1800))
    whole = uninterrupted(benchmark_file, tmp_path / "whole")
    kill_at_random(benchmark_file, folder, "tune", rng, 0.5)
    kill_orphans(folder)
    process, begun = start(benchmark_file, folder, "tune", 0.2, "offline"), time.time_ns()
    wait_for(partial(newer, folder, begun), process)
    asked = time.time_ns()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process of the group hears Ctrl-C, Ray's too
    check_stopped(folder, process, asked)

    how = ("-c", IMPATIENT, str(SILENCE))
    process, begun = start(benchmark_file, folder, "tune", 0.2, "offline", how), time.time_ns()
    wait_for(partial(newer, folder, begun), process)
    frozen = next(trial for trial in whole if newer(folder, begun, trial))
    (killed,) = set(whole) - {frozen}
    before = {frozen: attempt(folder, frozen)}
    process_of_frozen = hit(folder, frozen, signal.SIGSTOP)
    wait_for(partial(newer, folder, begun, killed), process)
    before[killed] = attempt(folder, killed)
    hit(folder, killed, signal.SIGKILL)
    assert finish(process) == 0, said(folder)
    assert f"process {process_of_frozen} has not answered for {SILENCE} s, and was ended" in said(folder)
    check_went_on(folder, whole)
    assert {trial: records(folder)[trial].attempts - 1 for trial in whole} == before


@pytest.mark.slow
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


@pytest.mark.slow
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
