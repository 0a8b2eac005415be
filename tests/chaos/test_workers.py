"""Two workers of a trial, of which one is killed, one freezes, or all die with their command: the record is the same.

Stated: a worker that dies is missed at once and one that freezes after `silence` seconds (60 unless told otherwise);
then all workers are started again, and go on from the last checkpoint. How long that took is printed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from together import without_ray

from harness import spec
from harness.record import Record
from harness.storage.store import open_folder

pytestmark = [pytest.mark.slow, pytest.mark.cluster]
BENCHMARK = """
question: Do two workers go on?
name: long
seeds: 1
set: {hidden_size: 16, layers: 2, dropout: 0.2, batch_size: 32, learning_rate: 0.01, evaluations: 4, workers: 2}
sweep:
  - task: {name: adding, length: 20, train_examples: 500, valid_examples: 100, test_examples: 100}
    cell: lstm
    bptt_length: 8
    clip_norm: 1.0
    select: best
    examples: 25600
"""
RUN = """
import sys
from pathlib import Path
from harness import machine, spec
from harness.launch import train
from harness.launch.base import Target

class Quiet:
    def started(self, trial): pass
    def finished(self, trial, status, seconds): pass

path, results, every, silence = sys.argv[1:]
benchmark = spec.load(path)
target = Target(results, benchmark.name, machine.fingerprint(), False, checkpoint_seconds=float(every))
todo = [trial for trial in benchmark.trials if not target.holding(trial.id)]
train.launch(todo, target, Quiet(), 1, float(silence))
"""
WAIT = 400.0
OFTEN, NEVER = 0.3, 1e9  # seconds between checkpoints


@pytest.fixture(scope="module")
def benchmark_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmark") / "long.yaml"
    path.write_text(BENCHMARK)
    return path


@pytest.fixture(scope="module")
def whole(benchmark_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """The record of two workers that nobody harmed, and that Ray did not start."""
    (trial,) = spec.load(str(benchmark_file)).trials
    return without_ray(trial, tmp_path_factory.mktemp("whole"))


@pytest.fixture
def seed() -> Iterator[int]:
    found = random.randrange(10**6)
    print(f"seed {found}")
    yield found


def start(path: Path, results: Path, every: float) -> subprocess.Popen[str]:
    words = ["run", str(path), "--results", str(results), "--wandb", "off", "--checkpoint-seconds", str(every)]
    return _start(results, "-m", "harness", *words)


def start_with_silence(path: Path, results: Path, every: float, silence: float) -> subprocess.Popen[str]:
    """The same, with less patience than the command has."""
    return _start(results, "-c", RUN, str(path), str(results), str(every), str(silence))


def _start(results: Path, *words: str) -> subprocess.Popen[str]:
    with open(results.with_suffix(".log"), "a") as log:
        return subprocess.Popen([sys.executable, *words], stdout=log, stderr=log, text=True, process_group=0)


def said(folder: Path) -> str:
    logs = [folder.with_suffix(".log"), *folder.glob("long/logs/*.log")]
    return "\n".join(path.read_text()[-8_000:] for path in logs)


def the_record(folder: Path) -> Record:
    (record,) = open_folder(folder / "long")
    return record


def same(one: Record, other: Record) -> bool:
    return repr(one.without_times()) == repr(other.without_times())


def until_a_checkpoint(folder: Path, process: subprocess.Popen[str], after: int) -> float:
    """Wait until one is written after a moment (in ns), and return how many seconds later that was."""
    deadline = time.monotonic() + WAIT
    while newest(folder) <= after:
        assert time.monotonic() < deadline and process.poll() is None, said(folder)
        time.sleep(0.05)
    return (newest(folder) - after) / 1e9


def newest(folder: Path) -> int:
    """When the last checkpoint was written (ns)."""
    return max((path.stat().st_mtime_ns for path in folder.glob("long/*/*.checkpoint/manifest.json")), default=0)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Processes of the trial's workers, below this command alone."""
    parents, names = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            names[int(entry.name)] = entry.joinpath("cmdline").read_text()
        except OSError:  # it is over
            continue

    def below(pid: int) -> bool:
        return pid == process.pid or (pid in parents and below(parents[pid]))

    return sorted(pid for pid, name in names.items() if "RayTrainWorker" in name and below(pid))


def until_others(folder: Path, process: subprocess.Popen[str], before: list[int]) -> list[int]:
    """Wait until the trial has two workers that are not those before."""
    deadline = time.monotonic() + WAIT
    while len(found := workers_of(process)) < 2 or set(found) & set(before):
        assert time.monotonic() < deadline and process.poll() is None, said(folder)
        time.sleep(0.05)
    return found


def test_a_worker_that_is_killed_and_one_that_freezes_are_missed_and_all_start_again(
    benchmark_file, whole, seed, tmp_path
):
    folder, silence, draw = tmp_path / "results", 15.0, random.Random(seed)
    process = start_with_silence(benchmark_file, folder, OFTEN, silence)
    until_a_checkpoint(folder, process, 0)
    workers = workers_of(process)
    assert len(workers) == 2, said(folder)
    killed = time.monotonic()
    os.kill(draw.choice(workers), signal.SIGKILL)
    others = until_others(folder, process, workers)
    until_a_checkpoint(folder, process, time.time_ns())
    print(f"a worker killed: the next checkpoint {time.monotonic() - killed:.1f} s later", flush=True)
    frozen = draw.choice(others)
    os.kill(frozen, signal.SIGSTOP)
    time.sleep(1)  # what was being written is
    took = until_a_checkpoint(folder, process, time.time_ns()) + 1
    print(f"a worker frozen, silence of {silence:g} s: the next checkpoint {took:.1f} s later", flush=True)
    assert process.wait(WAIT) == 0, said(folder)
    found = the_record(folder)
    assert found.attempts == 3 and same(found, whole), found.reason
    assert not Path(f"/proc/{frozen}").exists(), "it is killed, not left behind"
    assert not list(folder.glob("long/*/*.checkpoint*"))


def test_asked_to_stop_and_killed_with_its_workers_it_goes_on_and_two_commands_at_once_train_it_once(
    benchmark_file, whole, seed, tmp_path
):
    folder = tmp_path / "results"
    process = start(benchmark_file, folder, OFTEN)
    until_a_checkpoint(folder, process, 0)
    asked = time.time_ns()
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT) == 75, said(folder)
    assert newest(folder) > asked and "stopping: trials that run" in said(folder)
    process = start(benchmark_file, folder, OFTEN)
    until_a_checkpoint(folder, process, time.time_ns())
    time.sleep(random.Random(seed).random() / 2)
    process.kill()
    process.wait()
    both = [start(benchmark_file, folder, NEVER) for _ in range(2)]
    assert [process.wait(WAIT) for process in both] == [0, 0], said(folder)
    found = the_record(folder)
    assert found.attempts == 3 and same(found, whole), found.reason
