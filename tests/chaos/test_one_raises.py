"""One worker of two raises and the other does not: the trial is a failed record that names worker and error, soon."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from together import Together

from harness.launch import worker
from harness.storage.store import open_folder
from harness.training.workers import Workers

pytestmark = [pytest.mark.slow, pytest.mark.cluster]
BENCHMARK = """
question: Does one trial cost the others?
name: raises
seeds: 2
set: {hidden_size: 4, batch_size: 32, evaluations: 1, workers: 2, examples: 640}
sweep:
  - {task: {name: adding, length: 8, train_examples: 64, valid_examples: 32, test_examples: 32}, cell: gru}
"""
RUN = """
import sys

from harness import machine, spec
from harness.training import workers
from harness.launch import train, worker
from harness.launch.base import Target

class Raising(workers.Workers):
    made = 0

    def seed(self, seed):
        self.trial = seed
        return super().seed(seed)

    def add_up(self, parameters, loss):
        self.made += 1
        if (self.trial, self.rank, self.made) == (0, 1, 6):  # the other one waits for its gradients
            raise ArithmeticError("one and one are three")
        return super().add_up(parameters, loss)

def work(asked):
    from harness.launch import worker
    worker.Workers = Raising
    return worker.work(asked)

class Quiet:
    def started(self, trial): pass
    def finished(self, trial, status, seconds): print(trial.seed, status, flush=True)

worker.work = work
path, results = sys.argv[1:]
benchmark = spec.load(path)
target = Target(results, benchmark.name, machine.fingerprint(), False)
train.launch(benchmark.trials, target, Quiet(), 1)
"""


def failed(workers: Workers, alone: int) -> tuple[bool, float]:
    """One has failed while the others wait for its gradients: whether it finds that all have, and after how long."""
    begin = time.monotonic()
    if workers.rank != alone:
        with contextlib.suppress(RuntimeError):
            dist.all_reduce(torch.zeros(1))
    return worker._all_failed(), time.monotonic() - begin


def failed_too(workers: Workers) -> tuple[bool, float]:
    return failed(workers, workers.rank)


def test_who_fails_alone_knows_it_in_the_seconds_that_are_stated(tmp_path: Path) -> None:
    both = Together(2, tmp_path)
    try:
        assert all(together and took < worker.TOGETHER for together, took in both(failed_too)), "where all have"
        for end in both.ends:
            end.send((failed, (1,)))
        assert both.ends[1].poll(60)
        together, took = both.ends[1].recv()
        assert not together and worker.TOGETHER - 1 < took < worker.TOGETHER + 10
    finally:
        both.close()


def test_one_worker_alone_raises_and_the_next_trial_goes_on(tmp_path: Path) -> None:
    (tmp_path / "raises.yaml").write_text(BENCHMARK)
    command = [sys.executable, "-c", RUN, str(tmp_path / "raises.yaml"), str(tmp_path / "r")]
    begin = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    took = time.monotonic() - begin
    assert done.returncode == 0, done.stderr[-8_000:]
    assert done.stdout.splitlines()[-2:] == ["0 failed", "1 ok"], done.stdout
    failed, fine = sorted(open_folder(tmp_path / "r" / "raises"), key=lambda record: record.seed)
    assert (failed.status, failed.reason) == ("failed", "worker 1 of 2: ArithmeticError: one and one are three")
    assert "in add_up" in failed.traceback and failed.attempts == 1
    assert fine.status == "ok" and fine.updates == 20
    print(f"one of two raised, and both trials were over after {took:.1f} s")
