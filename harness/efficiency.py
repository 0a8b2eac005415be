"""What the machine can do at best, measured beside the trial, and how near the trial came: the recurrent roofline.

An update takes at least as long as the longest of three floors, which is said to bind it:

    compute     its FLOPs (6 G H (I + H) for each token and layer, harness/cost.py) at the rate of a matrix product
    bandwidth   the bytes that it must move at the rate of a copy: weights, gradients and optimiser state once each way,
                what autograd holds once in and once out
    latency     its steps one after the other, forward and back, at the time of the least step: a layer of one unit, by
                the kind of kernel that ran; a scan's and a fused kernel's by torch's quickest

After Diamos et al., "Persistent RNNs" (ICML 2016), and Williams et al., "Roofline" (CACM 52, 2009). MFU: the FLOPs of
useful tokens over those of the matrix product in the same time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness import cost, machine
from harness.record import Record
from harness.spent import CLOCK
from harness.trial import Trial

SECONDS = 0.08
"""For each of a dozen measurements; the best of all repeats counts, so that a busy machine does not lower a floor."""
PRODUCTS, COPIES, STEPS = (128, 256, 512, 1024), (1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26), 256
"""Rows of a square product; bytes of a copy; steps of a chain."""
DTYPES = {"float64": torch.float64, "bfloat16-mixed": torch.bfloat16, "float16-mixed": torch.float16}
LOOPS = ("ATen loop", "Python loop")
PASSES = {"adam": 10, "sgd": 6}
"""Times that each weight's 4 bytes move in an update: read forward and back, its gradient written, and what the
optimiser reads and writes."""


@dataclass(frozen=True)
class Limits:
    """The best of this machine with so many threads and this arithmetic, and when that was measured (UTC).

    copies: bytes of a copy -> bytes read and written in a second. loop, fused: seconds of the least step.
    """

    flops_per_second: float
    copies: dict[int, float]
    loop: float
    fused: float
    measured: str


def limits(threads: int, precision: str) -> Limits:
    """Measure, about a second in all, once for this machine, these threads and this arithmetic in a process."""
    return _limits(machine.fingerprint(), threads, precision)


@cache
def _limits(fingerprint: str, threads: int, precision: str) -> Limits:
    dtype = DTYPES.get(precision, torch.float32)
    with _apart(threads):
        loop = _step(nn.RNN)
        return Limits(
            _products(dtype),
            {size: _copy(size) for size in COPIES},
            loop,
            min(loop, _step(nn.LSTM)),
            datetime.now(UTC).isoformat(timespec="seconds"),
        )


@contextmanager
def _apart(threads: int) -> Iterator[None]:
    """Threads of the trial inside; nothing that is drawn or differentiated shows outside."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            yield
    finally:
        torch.set_num_threads(before)


def _best(run: Callable[[], object]) -> float:
    """Seconds of the quickest of some runs, after one to warm up that decides whether there is time for more."""
    started = time.perf_counter()
    run()
    best, end = time.perf_counter() - started, started + SECONDS
    while (mark := time.perf_counter()) < end:
        run()
        best = min(best, time.perf_counter() - mark)
    return best


def _products(dtype: torch.dtype) -> float:
    """The best rate of a few sizes; none after the first that takes too long, where this arithmetic is emulated."""
    best = 0.0
    for n in PRODUCTS:
        best = max(best, rate := _product(n, dtype))
        if 16.0 * n**3 / rate > SECONDS:  # the next would take this
            break
    return best


def _product(n: int, dtype: torch.dtype) -> float:
    """FLOPs per second of a square product of n rows."""
    a_NN, out_NN = torch.ones(n, n, dtype=dtype), torch.empty(n, n, dtype=dtype)
    return 2.0 * n**3 / _best(lambda: torch.mm(a_NN, a_NN, out=out_NN))


def _copy(size: int) -> float:
    """Bytes per second, read and written, of a copy of so many bytes."""
    source, target = torch.ones(size // 4), torch.empty(size // 4)
    return 2.0 * size / _best(lambda: target.copy_(source))


def _step(kind: Callable[..., nn.RNNBase]) -> float:
    """Seconds of a step of a chain of one unit and one example, nothing but latency."""
    layer, x_BTD = kind(1, 1, batch_first=True), torch.zeros(1, STEPS, 1)
    return _best(lambda: layer(x_BTD)) / STEPS


@CLOCK.on("calibrate")
def observed(trial: Trial, record: Record) -> dict[str, Any]:
    """Return the fields of a record that tell what was possible, and how near its trial came. It has ended well.

    Of several workers the products are shared out, and the limits are those of as many machines like the first's.
    """
    best = limits(trial.threads, trial.precision)
    step = best.loop if record.kernel.startswith(LOOPS) else best.fused
    moved = 4.0 * PASSES[trial.optimizer] * record.parameters + 2.0 * record.activation_bytes
    copies = [rate for size, rate in best.copies.items() if size <= moved]  # what fits a cache is copied within it
    bandwidth = copies[-1] if copies else max(best.copies.values())
    flops, steps = cost.flops_per_token(trial), cost.steps_per_update(trial)
    tokens = record.tokens / max(1, record.updates)
    floors = {
        "compute": tokens * flops / best.flops_per_second / trial.workers,
        "bandwidth": moved / bandwidth,
        "latency": steps * step / record.packed,  # what passes for all trials of a pack, each has its share of
    }
    bound = max(floors, key=lambda name: floors[name])
    return {
        "flops_per_token": flops,
        "bytes_per_update": moved,
        "steps_per_update": steps,
        "limit_flops_per_second": best.flops_per_second * trial.workers,
        "limit_bytes_per_second": bandwidth,
        "limit_step_seconds": step,
        "limits_measured": best.measured,
        "bound": bound,
        "times_floor": tokens / record.tokens_per_second / floors[bound],
        "mfu": flops * record.tokens_per_second / best.flops_per_second / trial.workers,
        "padding_share": 1 - record.tokens / record.padded_tokens if record.padded_tokens else math.nan,
    }


class Memory:
    """Most memory that this process had resident since this was made, libraries included; 0 where nobody can tell."""

    def __init__(self, own: Path = Path("/proc/self")) -> None:
        self.own = own
        try:
            (own / "clear_refs").write_text("5")  # begins the count anew: a worker serves many trials
            self.counts = True
        except OSError:  # another system, or a container that forbids it
            self.counts = False

    def peak(self) -> int:
        """Bytes."""
        if not self.counts:
            return 0
        lines = (self.own / "status").read_text().splitlines()
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
