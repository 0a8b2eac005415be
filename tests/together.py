"""The workers of a trial without Ray: processes with a gloo group between them, started once and asked many things."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch.distributed as dist

from harness.engine import run_trial
from harness.record import Record
from harness.training.workers import Workers
from harness.trial import Trial

WAIT = 300.0


class Together:
    """`count` processes, each a worker; calling this calls a function in all, with its Workers first."""

    def __init__(self, count: int, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        pipes = [context.Pipe() for _ in range(count)]
        self.ends = [ours for ours, _ in pipes]
        self.processes = [
            context.Process(target=_work, args=(rank, count, str(folder / "group"), theirs), daemon=True)
            for rank, (_, theirs) in enumerate(pipes)
        ]
        for process in self.processes:
            process.start()

    def __call__(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        for end in self.ends:
            end.send((function, args))
        found = []
        for end in self.ends:
            assert end.poll(WAIT), "a worker is silent"
            found.append(end.recv())
        for each in found:
            if isinstance(each, BaseException):
                raise each
        return found

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


def trained(workers: Workers, asked: Trial) -> Record:
    """Train a trial as one of its workers."""
    return run_trial(asked, workers=workers)


def without_ray(trial: Trial, folder: Path) -> Record:
    """Return what a trial comes to in this process, or in as many as it has workers."""
    if trial.workers == 1:
        return run_trial(trial)
    group = Together(trial.workers, folder)
    try:
        record: Record = group(trained, trial)[0]
    finally:
        group.close()
    return record


def _work(rank: int, count: int, path: str, end: Connection) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{path}", rank=rank, world_size=count, timeout=timedelta(seconds=60)
    )
    while True:
        function, args = end.recv()
        try:
            end.send(function(Workers(rank, count), *args))
        except Exception as error:
            end.send(error)
