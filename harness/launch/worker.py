"""What each worker of a trial of several runs, in a process of its own with a process group around it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from harness.errors import Paused
from harness.launch import scratch
from harness.launch.base import Target, check_shared, mirror, train_and_store
from harness.storage.objects import on_disk
from harness.training.workers import Workers
from harness.trial import Trial

TURN = 5.0
"""Seconds that the first worker waits for a claim before it tells the others that it still waits: they are not to think
that it is gone."""
TOGETHER = 5.0
"""Seconds in which the others must have failed as well for a failure to be that of all."""


class Failed(Exception):
    """The trial failed in one worker, and has its record."""


class _Busy(Exception):
    """Another process holds the claim."""


def work(asked: dict[str, Any]) -> str:
    """Train the trial that is asked for together with the other workers; return how that ended."""
    import ray.train.torch

    if asked["folder"]:
        scratch.occupy(asked["folder"])
    context, device = ray.train.get_context(), ray.train.torch.get_device()
    workers = Workers(context.get_world_rank(), context.get_world_size(), str(device))
    return together(Trial.from_canonical(asked["trial"]), asked["target"], workers)


def together(trial: Trial, target: Target, workers: Workers) -> str:
    """Train a trial and store it, unless its record exists: "done" or "paused".

    The first worker holds the claim, reads and writes checkpoints and stores the record; its death frees the claim. A
    worker that fails by itself stores the record of that and raises Failed, so that the others are ended.
    """
    store = target.store()
    with ExitStack() as held:
        says = _begin(trial, target, workers, held)
        if says != "train":
            return says
        try:
            record = train_and_store(trial, target, store, workers)
        except Paused as paused:
            if not workers.rank:
                print(paused, flush=True)
            return "paused"
        if record.status == "failed" and not _all_failed():
            store.write(record)  # unless there is one
            raise Failed(record.reason)
        if target.wandb and not target.objects and not workers.rank:
            mirror([record], on_disk(target.folder))
    return "done"


def _begin(trial: Trial, target: Target, workers: Workers, held: ExitStack) -> str:
    """Wait until the first worker has the claim, and return what all are to do: "train", "done" or "paused"."""
    check_shared(target)
    while True:
        says = workers.first("" if workers.rank else _claimed(trial, target, held))
        if says:
            return says


def _claimed(trial: Trial, target: Target, held: ExitStack) -> str:
    """Try for a while to get the claim; return what to do, "" to try again."""
    until = time.monotonic() + TURN

    def wait(holder: str) -> None:
        if time.monotonic() > until or target.stopped:
            raise _Busy

    if not target.stopped:
        try:
            held.enter_context(target.store().claim(trial.id, on_wait=wait))
            return "done" if target.holding(trial.id) else "train"
        except _Busy:
            pass
    return "paused" if target.stopped else ""


def _all_failed() -> bool:
    """Whether every worker comes here, as where settings cannot work; where one does not, it waits for gradients."""
    if dist.get_backend() != "gloo":  # NCCL cannot tell
        return False
    try:  # torch's monitored_barrier keeps to its time-out in worker 0 alone, the others wait as long as the group does
        dist.barrier(async_op=True).wait(timedelta(seconds=TOGETHER))
    except RuntimeError:  # somebody did not
        return False
    return True
