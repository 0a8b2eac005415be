"""What this machine can do at best, measured once a command: what efficiency.py holds trials against.

It takes about a second, and so it is done before a trial begins, by the first process of a command that needs it; the
others find it in the folder that they share, or begin their trials while it is being measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn

from harness import files, machine
from harness.spent import CLOCK

SECONDS = 0.08
"""For each of a dozen measurements; the best of all repeats counts, so that a busy machine does not lower a floor."""
PRODUCTS, COPIES, STEPS = (128, 256, 512, 1024), (1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26), 256
"""Rows of a square product; bytes of a copy; steps of a chain."""
DTYPES = {"float64": torch.float64, "bfloat16-mixed": torch.bfloat16, "float16-mixed": torch.float16}
_known: dict[tuple[str, int, str], Limits] = {}
_shared: list[Path] = []


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


@CLOCK.on("calibrate")
def prepare(threads: int, precision: str, folder: str = "") -> None:
    """Measure before a trial begins, unless that was done, or another process does it right now. `folder`: where the
    processes of a command on this machine share what they measure."""
    _shared[:] = [Path(folder, "limits")] if folder else []
    with suppress(TimeoutError):
        _get(threads, precision, timeout=0)


@CLOCK.on("calibrate")
def known(threads: int, precision: str) -> Limits:
    """Return what was measured on this machine, in this command, with these threads and this arithmetic; wait for a
    process that measures it now, and measure it where none has."""
    return _get(threads, precision)


def _get(threads: int, precision: str, timeout: float | None = None) -> Limits:
    key = machine.fingerprint(), threads, precision
    if key not in _known:
        _known[key] = _together("-".join(map(str, key)), threads, precision, timeout)
    return _known[key]


def _together(name: str, threads: int, precision: str, timeout: float | None) -> Limits:
    """Measure alone, whoever shares the folder finds it. Raises TimeoutError where another is at it for long."""
    if not _shared or not _shared[0].parent.is_dir():  # without others, or they are gone and the folder with them
        return _measure(threads, precision)
    path = _shared[0] / f"{name}.json"
    lock = files.acquire(path.with_suffix(".lock"), timeout)  # falls with its holder
    try:
        if path.exists():
            return _read(path)
        found = _measure(threads, precision)
        with suppress(OSError):  # a full disk: the others measure as well
            files.replace(path, json.dumps(asdict(found)).encode())
        return found
    finally:
        files.release(path.with_suffix(".lock"), lock)


def _read(path: Path) -> Limits:
    told = json.loads(path.read_bytes())
    return Limits(**told | {"copies": {int(size): rate for size, rate in told["copies"].items()}})


def _measure(threads: int, precision: str) -> Limits:
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
