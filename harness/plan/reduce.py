"""What an all-reduce costs: the alpha-beta model of a ring, fitted to gloo between two processes of this machine.

T(n, w) = 2 (w - 1) alpha + 2 (w - 1) / w n beta for n bytes on w workers: each of the 2 (w - 1) steps of the ring waits
once (alpha, seconds) and sends n / w bytes (beta, seconds for each). Thakur, Rabenseifner & Gropp 2005,
doi:10.1177/1094342005051521.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZES = tuple(1024 * 4**k for k in range(8))  # bytes: 1 KiB to 16 MiB
REPEATS = 12
WITHIN = 60.0
"""Seconds in which both processes must have answered."""


@dataclass(frozen=True)
class Network:
    """What lies between two workers. `latency` (alpha) in seconds, `bandwidth` (1 / beta) in bytes a second."""

    latency: float
    bandwidth: float

    def seconds(self, size: int, workers: int) -> float:
        """Return the seconds of one all-reduce of `size` bytes."""
        if workers == 1:
            return 0.0
        steps = 2 * (workers - 1)
        return steps * self.latency + steps / workers * size / self.bandwidth


def fit(sizes: list[int], seconds: list[float]) -> Network:
    """Return the model of two workers that is nearest to what was measured, by relative least squares."""
    import numpy as np

    n, t = np.array(sizes, float), np.array(seconds)
    design = np.stack([2 / t, n / t], axis=1)
    (alpha, beta), *_ = np.linalg.lstsq(design, np.ones_like(t), rcond=None)
    floor = float(t.min())
    return Network(max(float(alpha), floor / 100), 1 / max(float(beta), floor / max(sizes) / 1e3))


def measured() -> Network:
    """Fit the model to medians on this machine; a few seconds."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        answers: Any = context.Queue()
        workers = [context.Process(target=_worker, args=(rank, folder, answers), daemon=True) for rank in range(2)]
        for worker in workers:
            worker.start()
        try:
            return fit(list(SIZES), answers.get(timeout=WITHIN))
        finally:
            for worker in workers:
                worker.join(timeout=5)
                worker.kill()


def _worker(rank: int, folder: str, answers: Any) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=Path(folder, "meet").as_uri(), rank=rank, world_size=2)
    medians = []
    for size in SIZES:
        values, taken = torch.zeros(size // 4), []
        for _ in range(REPEATS):
            dist.barrier()
            begin = time.perf_counter()
            dist.all_reduce(values)
            taken.append(time.perf_counter() - begin)
        medians.append(sorted(taken[2:])[len(taken[2:]) // 2])
    if rank == 0:
        answers.put(medians)
    dist.barrier()
    dist.destroy_process_group()
