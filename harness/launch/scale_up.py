"""On a cluster whose GPUs come when they are asked for: ask, and wait until they are there.

Ray does not tell a job whether an autoscaler stands behind its cluster, so that a user says it, by how long it is worth
waiting: `--gpu-wait`, which `harness submit` gives where the cluster's file has `gpu_wait` or `node: {gpus: N}`. What
is asked for is a placement group, which every autoscaler of Ray's sees: as many CPUs and GPUs as a trial takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from harness.errors import Fault, Paused, UserError
from harness.launch.gpus import OPTION, WITHOUT, each
from harness.launch.target import Target

WAIT_OPTION = "--gpu-wait"
DEFAULT_WAIT = 900.0
"""Seconds: clouds take 2 to 10 minutes for a machine with a GPU, its driver and its image."""
LOOK = 1.0
"""Seconds between two looks for a request to stop."""


def room(resources: Sequence[dict[str, Any]], threads: int, share: float) -> int:
    """Return how many workers of so many threads, each with such a share of a GPU, have room on nodes at once."""
    cpus_gpus = [(int(one.get("CPU", 0.0) // threads), int(one.get("GPU", 0.0)) * int(1 / share)) for one in resources]
    return sum(min(both) for both in cpus_gpus)


def wait_for_gpus(target: Target, threads: int, workers: int, say: Callable[[str], object]) -> None:
    """Return once the cluster that this process has joined has GPUs for all workers of a trial of so many threads each,
    at once where it has them or where nothing is to be waited for. Raises UserError where they do not come in time,
    Paused where a stop was asked for."""
    import ray
    from ray.util import placement_group, remove_placement_group

    share, seconds = each(target.gpus, workers), target.gpu_wait
    up = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not share or not seconds or room(up, threads, share) >= workers:
        return
    what = f"{workers} GPUs" if workers > 1 else "a GPU"
    say(f"no room on {what} yet: asking the cluster for it, and waiting {seconds:g} seconds at most ({WAIT_OPTION})")
    asked, begin = placement_group([{"CPU": threads, "GPU": share}] * workers), time.monotonic()
    try:
        while not asked.wait(LOOK):
            if target.stopped:
                raise Paused("stopped while waiting for a GPU")
            if time.monotonic() - begin > seconds:
                fault = f"{OPTION} {share:g}: no room on {what} came within {seconds:g} seconds"
                remedy = f"a longer {WAIT_OPTION}, a look at the autoscaler (`ray status` on the head), or {WITHOUT}"
                raise UserError(Fault(fault, remedy=remedy))
        say(f"{what} came after {time.monotonic() - begin:.0f} seconds")
    finally:
        remove_placement_group(asked)
