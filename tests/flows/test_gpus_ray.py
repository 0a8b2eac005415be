"""Shares of a GPU on real Ray, which can be told of a GPU that is not there: it is given out, and never trained on."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import real_head

from harness.trial import Trial

pytestmark = pytest.mark.slow
BENCHMARK = """
question: Is there a GPU?
seeds: 3
set: {hidden_size: 4, examples: 64, evaluations: 1, batch_size: 8}
sweep:
  - {task: {name: adding, length: 8}, cell: elman}
"""
SHARED_OUT = """
import json, sys, time
from functools import partial
import ray
from ray import tune
from harness.launch.tune import room

share, trial = float(sys.argv[1]), sys.argv[2]

@ray.remote(num_cpus=0)
class Meter:
    now = most = 0
    def enter(self):
        self.now += 1
        self.most = max(self.most, self.now)
    def leave(self):
        self.now -= 1
    def told(self):
        return self.most

ray.init(address=sys.argv[3])
meter = Meter.options(name="meter").remote()

def train(config):
    meter = ray.get_actor("meter")
    ray.get(meter.enter.remote())
    time.sleep(2)
    ray.get(meter.leave.remote())
    tune.report({"gpus": ray.get_gpu_ids()})

space = {"try": {"trials": [trial]}, "number": tune.grid_search(list(range(5)))}
tuner = tune.Tuner(
    tune.with_resources(train, partial(room, share)), param_space=space,
    run_config=tune.RunConfig(storage_path=sys.argv[4], verbose=0),
)
found = [result.metrics["gpus"] for result in tuner.fit()]
print(json.dumps([ray.get(meter.told.remote()), found]))
"""


@pytest.fixture(scope="module", params=[1, 0], ids=["a GPU that Ray is told of", "none"])
def cluster(request) -> Iterator[tuple[int, dict[str, str]]]:
    """A cluster of six CPUs, and what a command needs to join it."""
    with real_head.serving(num_cpus=6, num_gpus=request.param) as head:
        yield request.param, head.environment


def test_as_many_trials_run_at_once_as_have_a_share(cluster, tmp_path):
    count, environment = cluster
    if not count:
        return
    trial = Trial(task={"name": "digits"}, cell={"name": "gru"}, examples=8).canonical()
    for share, most in ((0.5, 2), (0.3, 3)):
        command = [sys.executable, "-c", SHARED_OUT, str(share), trial, environment["RAY_ADDRESS"], str(tmp_path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stderr[-4_000:]
        assert done.stdout.splitlines()[-1] == f"[{most}, {[[0]] * 5}]", "all on the one GPU"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_gpu_that_torch_does_not_see_is_refused_before_anything_trains(cluster, workers, tmp_path):
    count, environment = cluster
    (tmp_path / "x.yaml").write_text(BENCHMARK)
    words = ["run", "x.yaml", "--on", "cluster", "--gpus-per-trial", "0.5", "--set", f"workers={workers}"]
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words], env=environment, cwd=tmp_path, capture_output=True, text=True,
        timeout=280, check=False,
    )  # fmt: skip
    said = "Ray promises 1 GPUs, and torch" if count else "--gpus-per-trial 0.5, and no node of the cluster has a GPU"
    assert done.returncode == 2 and said in done.stderr, done.stdout + done.stderr
    assert done.stderr.count("error: ") == 1 and not list(Path(tmp_path).rglob("*.parquet"))


GPU_NODES = {"gpu": {"resources": {"CPU": 2, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2}}


def runs(environment: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "x.yaml").write_text(BENCHMARK)
    command = [sys.executable, "-m", "harness", "run", "x.yaml", "--on", "cluster", *words]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=280, check=False
    )


def test_a_gpu_that_an_autoscaler_brings_is_waited_for(tmp_path):
    """Ray's autoscaler starts a node with a GPU for one worker and a second one for two; torch then sees neither."""
    with real_head.serving(GPU_NODES, num_cpus=1) as head:
        for number, workers in enumerate((1, 2)):
            words = ("--gpus-per-trial", "0.5", "--gpu-wait", "120", "--set", f"workers={workers}")
            done = runs(head.environment, tmp_path, *words)
            what = "2 GPUs" if number else "a GPU"
            assert f"no room on {what} yet: asking the cluster for it, and waiting 120 seconds" in done.stdout, done
            assert re.search(rf"{what} came after \d+ seconds", done.stdout), done
            assert done.returncode == 2 and "Ray promises 1 GPUs, and torch" in done.stderr, done


def test_a_gpu_that_does_not_come_is_waited_for_no_longer_than_was_said(tmp_path):
    with real_head.serving(num_cpus=1) as head:
        done = runs(head.environment, tmp_path, "--gpus-per-trial", "0.5", "--gpu-wait", "2")
        assert done.returncode == 2 and "no room on a GPU came within 2 seconds" in done.stderr, done
        assert "a longer --gpu-wait, a look at the autoscaler" in done.stderr and not list(tmp_path.rglob("*.parquet"))
