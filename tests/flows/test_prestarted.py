"""Tune's trials run in the processes that Ray started beforehand, and in no others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TWO_TRIALS = """
import os, sys, time
from pathlib import Path
from harness.launch.prestarted import SAID, prestarted
from harness.launch.tune import local_ray

def run(config):
    Path(config["out"], str(os.getpid())).write_text(os.environ["PL_DISABLE_FORK"])
    time.sleep(1)  # so that the other one is needed too
    tune.report({"a": 1})

with local_ray(2, prestart=True) as folder:
    from ray import tune
    from ray.tune.execution import class_cache

    there = class_cache.DEFAULT_ENV_VARS
    assert there == SAID, "Ray's Tune asks for other variables than those that were looked at"
    with prestarted():
        tune.Tuner(
            tune.with_resources(run, {"cpu": 1}),
            param_space={"out": sys.argv[1], "number": tune.grid_search([0, 1])},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
    assert there is class_cache.DEFAULT_ENV_VARS
    logs = Path(folder).glob("session_2*/logs/python-core-worker-*.log")
    print("began", *sorted(log.stem.rpartition("_")[2] for log in logs))
"""


@pytest.mark.slow
def test_a_trial_runs_in_a_process_that_was_there_before(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TWO_TRIALS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    (began,) = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("began")]
    ran = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert len(ran) == 2 and set(ran.values()) == {"1"}
    assert sorted(ran) == began
