"""How much faster the workers of a trial are than one of them alone, which each trial of several finds out by itself.

    speed_up = useful tokens/s of all / useful tokens/s of one        scaling_efficiency = speed_up / workers

Once a trial is scored and the others have nothing left to do, the first worker trains a copy of the network for a few
updates on whole batches, the first ones of the trial, in the way of a trial of one worker: same code, probes and clock.
What it has drawn, trained and seen is thrown away; no number of the trial is read from it but these two.

It costs SHARE of the trial at most, or LONGEST seconds of a short one. Where not even LEAST updates fit into that, or
the whole batch into the memory that is left, the trial does not tell, and both are NaN.
"""

from __future__ import annotations

import math
import statistics
from typing import Any

from harness import machine
from harness.probes.throughput import Throughput
from harness.training.module import RecurrentModule
from harness.training.workers import Workers

SHARE, LONGEST = 0.03, 2.0
LEAST, MOST = 4, 24
"""Updates, of which the first warms up."""


def affordable(fields: dict[str, Any], workers: int, seconds: float) -> int:
    """Return how many updates one worker makes alone beside a trial of `workers` that took so many seconds and of which
    this was observed, as if each took it `workers` times as long; 0: none."""
    steady = fields["update_seconds"][fields["warmup_updates"] :]
    if not steady or 2 * workers * fields["activation_bytes"] > machine.memory_left():
        return 0
    each, room = workers * statistics.median(steady), max(LONGEST, SHARE * seconds)
    count = min(MOST, max(LEAST, int(SHARE * seconds / each)))
    return count if count * each <= room else 0


def alone(module: RecurrentModule) -> RecurrentModule:
    """Return a copy of what several workers have trained, to be trained by one."""
    trial, worker = module.trial.model_copy(update={"workers": 1}), Workers(device=str(module.workers.device))
    one = RecurrentModule(trial, module.task, trial.build_cell(), worker)
    one.model.load_state_dict(module.model.state_dict())
    one.progress.updates, one.total_updates = module.updates, module.total_updates  # no first ones, which are watched
    return one.to(worker.device)


def observed(fields: dict[str, Any], workers: int, clock: Throughput) -> dict[str, Any]:
    """Return the fields of the record that say how workers gain on one alone, by its `clock`; its first
    update warms up."""
    rates = [tokens / seconds for tokens, seconds in zip(clock.tokens, clock.seconds, strict=True)][1:]
    gain = fields["tokens_per_second"] / statistics.median(rates) if len(rates) >= LEAST - 1 else math.nan
    return {"speed_up": gain, "scaling_efficiency": gain / workers, "alone_seconds": clock.seconds}
