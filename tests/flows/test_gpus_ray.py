"""Shares of a GPU on real Ray, which can be told of a GPU that is not there: it is given out, and never trained on."""

from __future__ import annotations

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

trial, address, folder, *shares = sys.argv[1:]

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

ray.init(address=address)

def train(config):
    meter, until = config["try"]["meter"], time.monotonic() + 120
    ray.get(meter.enter.remote())
    while ray.get(meter.told.remote()) < config["try"]["most"] and time.monotonic() < until:
        time.sleep(0.1)  # for those that have a share as well, however long their processes take to start
    time.sleep(2)  # for those that have none
    ray.get(meter.leave.remote())
    tune.report({"gpus": ray.get_gpu_ids()})

for share in map(float, shares):
    meter = Meter.remote()
    told = {"trials": [trial], "meter": meter, "most": int(1 / share)}
    space = {"try": told, "number": tune.grid_search(list(range(5)))}
    tuner = tune.Tuner(
        tune.with_resources(train, partial(room, share)), param_space=space,
        run_config=tune.RunConfig(storage_path=folder, verbose=0),
    )
    found = [result.metrics["gpus"] for result in tuner.fit()]
    print("told", json.dumps([share, ray.get(meter.told.remote()), found]))
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
    words = [trial, environment["RAY_ADDRESS"], str(tmp_path), "0.5", "0.3"]
    done = subprocess.run(
        [sys.executable, "-c", SHARED_OUT, *words], env=environment, capture_output=True, text=True, timeout=280,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4_000:]
    told = [line for line in done.stdout.splitlines() if line.startswith("told")]
    assert told == [f"told [{share}, {most}, {[[0]] * 5}]" for share, most in ((0.5, 2), (0.3, 3))], "on the one GPU"


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
