"""The same trial through the harness, in a process that is ready for it: python through_harness.py FILE RESULTS

Everything that a trial costs counts: data, probes at their default sampling, record, weights, W&B run offline. What a
worker does once, before its first trial, counts in the time of the whole process alone: imports, W&B's among them, and
what the machine can do at best, measured once a command.
"""

from __future__ import annotations

import json
import sys
import time

import wandb.apis.public  # noqa: F401  before torch, as harness/launch/base.py says why

import harness.engine  # noqa: F401
from harness import machine, spec
from harness.launch.base import Target, execute
from harness.training import limits


def main(file: str, results: str) -> None:
    """Run every trial of a benchmark, one after the other."""
    benchmark = spec.load(file)
    target = Target(results, benchmark.name, machine.fingerprint(), wandb=True)
    for trial in benchmark.trials:
        limits.prepare(trial.threads, trial.precision)
        begin = time.perf_counter()
        record = execute(trial, target)
        took = time.perf_counter() - begin
        answer = {"seed": trial.seed, "seconds": took, "score": record.score, "loss": record.train_loss}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
