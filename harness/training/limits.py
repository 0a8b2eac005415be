"""What a machine can do at best, its CPU or its GPU, measured once a command: what efficiency.py holds trials against.

It takes about a second, and so it is done before a trial begins, by the first process of a command that needs it, on
the device that the trial trains on; the others find it in the folder that they share, for each model of GPU, or begin
their trials while it is being measured. Of a GPU that trials share it is what all of it can do.

Products run in the trial's own arithmetic: float32 is float32, since torch rounds no product to TF32 unless it is told
to; mixed precision has the rate of its 16 bits. What a GPU is given it does later: a run is timed in rows of many, from
when all that came before is done until they are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch
from torch import nn

from harness import machine
from harness.spent import CLOCK
from harness.storage import files
from harness.training.workers import Workers

SECONDS, ROW = 0.08, 0.0005
"""For each of a dozen measurements; the best of all repeats counts, so that a busy machine does not lower a floor.
Shorter runs are timed in rows of about that length."""
TOO_LONG = 1.0
"""Seconds of a first run after which there is no second: arithmetic that is emulated. A copy of 64 MB takes a quarter
of that where its pages are touched for the first time, and a hundredth then."""
PRODUCTS, STEPS = (128, 256, 512, 1024, 2048, 4096, 8192), 256
"""Rows of a square product, as far as there is time; steps of a chain."""
COPIES = tuple(1 << bits for bits in range(18, 30, 2))
"""Bytes of a copy: beyond every cache, of a CPU as of a GPU."""
LARGEST = {"cpu": 1 << 26}
"""The largest copy on a device whose memory is not its own."""
DTYPES = {"float64": torch.float64, "bfloat16-mixed": torch.bfloat16, "float16-mixed": torch.float16}
ALONE = Workers()
_known: dict[tuple[str, str, int, str], Limits] = {}
_shared: list[Path] = []


@dataclass(frozen=True)
class Limits:
    """The best of a device with so many threads and this arithmetic, and when that was measured (UTC).

    copies: bytes of a copy -> bytes read and written in a second. loop, fused: seconds of the least step.
    """

    flops_per_second: float
    copies: dict[int, float]
    loop: float
    fused: float
    measured: str


@CLOCK.on("calibrate")
def prepare(threads: int, precision: str, folder: str = "", on: Workers = ALONE) -> None:
    """Measure the device of a worker before a trial begins, unless that was done, or another process does it right now.
    `folder`: where the processes of a command on this machine share what they measure."""
    _shared[:] = [Path(folder, "limits")] if folder else []
    with suppress(TimeoutError):
        _get(threads, precision, on, timeout=0)


@CLOCK.on("calibrate")
def known(threads: int, precision: str, on: Workers = ALONE) -> Limits:
    """Return what was measured on this machine, in this command, of such a device with these threads and this
    arithmetic; wait for a process that measures it now, and measure it where none has."""
    return _get(threads, precision, on)


def _get(threads: int, precision: str, on: Workers, timeout: float | None = None) -> Limits:
    key = machine.fingerprint(on.device.type), on.hardware, threads, precision
    if key not in _known:
        name = "-".join([key[0], *([] if key[1] == "cpu" else [machine.slug(key[1])]), str(threads), precision])
        _known[key] = _together(name, partial(_measure, threads, precision, on.device), timeout)
    return _known[key]


def _together(name: str, measure: Callable[[], Limits], timeout: float | None) -> Limits:
    """Measure alone, whoever shares the folder finds it. Raises TimeoutError where another is at it for long."""
    if not _shared or not _shared[0].parent.is_dir():  # without others, or they are gone and the folder with them
        return measure()
    path = _shared[0] / f"{name}.json"
    lock = files.acquire(path.with_suffix(".lock"), timeout)  # falls with its holder
    try:
        if path.exists():
            return _read(path)
        found = measure()
        with suppress(OSError):  # a full disk: the others measure as well
            files.replace(path, json.dumps(asdict(found)).encode())
        return found
    finally:
        files.release(path.with_suffix(".lock"), lock)


def _read(path: Path) -> Limits:
    told = json.loads(path.read_bytes())
    return Limits(**told | {"copies": {int(size): rate for size, rate in told["copies"].items()}})


def _measure(threads: int, precision: str, device: torch.device) -> Limits:
    dtype = DTYPES.get(precision, torch.float32)
    sizes = [size for size in COPIES if size <= LARGEST.get(device.type, COPIES[-1])]
    with _apart(threads):
        loop = _step(nn.RNN, device, fused=False)
        return Limits(
            _products(dtype, device),
            {size: _copy(size, device) for size in sizes},
            loop,
            min(loop, _step(nn.LSTM, device, fused=True)),
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


def _best(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of a run in the quickest row of them, after one to warm up and one that decides how many are a row and
    whether there is time for more."""

    def timed(count: int) -> float:
        done(device)
        mark = time.perf_counter()
        for _ in range(count):
            run()
        done(device)
        return (time.perf_counter() - mark) / count

    done, end = torch.get_device_module(device).synchronize, time.perf_counter() + SECONDS
    first = timed(1)
    best = timed(1) if first < TOO_LONG else first
    count = max(1, int(ROW / best))
    while time.perf_counter() < end:
        best = min(best, timed(count))
    return best


def _products(dtype: torch.dtype, device: torch.device) -> float:
    """The best rate of a few sizes; none after the first that takes too long, where this arithmetic is emulated."""
    best = 0.0
    for n in PRODUCTS:
        best = max(best, rate := _product(n, dtype, device))
        if 16.0 * n**3 / rate > SECONDS:  # the next would take this
            break
    return best


def _product(n: int, dtype: torch.dtype, device: torch.device) -> float:
    """FLOPs per second of a square product of n rows."""
    a_NN, out_NN = torch.ones(n, n, dtype=dtype, device=device), torch.empty(n, n, dtype=dtype, device=device)
    return 2.0 * n**3 / _best(lambda: torch.mm(a_NN, a_NN, out=out_NN), device)


def _copy(size: int, device: torch.device) -> float:
    """Bytes per second, read and written, of a copy of so many bytes."""
    source, target = torch.ones(size // 4, device=device), torch.empty(size // 4, device=device)
    return 2.0 * size / _best(lambda: target.copy_(source), device)


def _step(kind: Callable[..., nn.RNNBase], device: torch.device, fused: bool) -> float:
    """Seconds of a step of a chain of one unit and one example, nothing but latency. Unless `fused`, in torch's loop,
    which is what it has for every kind of layer on a GPU without cuDNN, and on a CPU for all but the LSTM."""
    layer, x_BTD = kind(1, 1, batch_first=True).to(device), torch.zeros(1, STEPS, 1, device=device)
    before, torch.backends.cudnn.enabled = torch.backends.cudnn.enabled, fused
    try:
        return _best(lambda: layer(x_BTD), device) / STEPS
    finally:
        torch.backends.cudnn.enabled = before
