"""What a trial takes of a GPU: a share that Ray hands out, so that so many trials run on one side by side.

Ray only counts shares: nothing keeps a trial from more of a GPU's memory or time than its own. A trial on a GPU is
another measurement than the same trial on a CPU, so its record names the GPU and lies under a fingerprint of its own:
the two are never ranked together, and neither stands in for the other.
"""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from collections.abc import Sequence

from harness import machine
from harness.errors import Fault, UserError

UNITS = 10_000
"""Ray counts shares in ten thousandths."""
OPTION, HIDES = "--gpus-per-trial", "CUDA_VISIBLE_DEVICES"
WITHIN = 90.0
"""Seconds that torch has to be imported."""
WITHOUT = f"leave out {OPTION}: trials then run on CPUs"


def asked(share: float, pack: int | None = 1) -> float:
    """Return a share that can be asked for, 0: none. `pack`: trials trained as one program, which has
    one share; None: as many as are quickest. Raises UserError."""
    if share and (not 1 / UNITS <= share <= 1 or not math.isclose(share * UNITS, round(share * UNITS))):
        what = f"{OPTION}: {share:g}; a worker trains on one GPU, or on a share of one"
        raise UserError(Fault(what, allowed="0.0001 to 1, in steps of 0.0001", remedy=f"{OPTION} 1, and workers: N"))
    if share and pack is None:
        what = f"--pack auto with {OPTION}: what it measures is a CPU's"
        raise UserError(Fault(what, allowed="off, or the most trials of a pack", remedy="--pack 16"))
    return share


def check_here(share: float) -> None:
    """Raise UserError where a share is asked for and this machine cannot give one."""
    if not share:
        return
    if not machine.gpu_names():
        raise UserError(Fault(f"{OPTION} {share:g}, and this machine has no GPU", remedy=WITHOUT))
    if not here():
        raise UserError(Fault(f"{OPTION} {share:g}, and {HIDES} hides every GPU", remedy=f"unset {HIDES}"))
    if why := blind():
        raise UserError(Fault(f"{OPTION} {share:g}, and {why}", remedy=WITHOUT))


def here() -> int:
    """Return how many GPUs of this machine Ray gives out: those that the environment shows."""
    names, shown = machine.gpu_names(), os.environ.get(HIDES)
    if shown is None:
        return len(names)
    listed = [word.strip() for word in shown.split(",")]
    return min(len(names), len(list(itertools.takewhile(lambda word: word not in ("", "-1"), listed))))


def blind() -> str:
    """Return why torch could train on no GPU of this machine; "" where it could.

    Asked of a process of its own: Ray hides GPUs from one that was promised none, and CUDA, once it has looked, keeps
    what it saw."""
    environment = {name: value for name, value in os.environ.items() if name != HIDES or value}
    command = [sys.executable, "-c", "import torch; print(torch.__version__, torch.cuda.is_available())"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN, check=False, env=environment)
    version, _, sees = done.stdout.strip().partition(" ")
    if sees not in ("True", "False"):
        return f"torch cannot be imported: {' '.join(done.stderr.split())[-300:]}"
    return "" if sees == "True" else _sees_none(version)


def _sees_none(version: str) -> str:
    return f"torch {version} sees none"


def device(share: float) -> str:
    """Return where a trial with this share trains in this process, of whose GPUs Ray shows it its own alone.

    Raises UserError where torch sees none: nothing falls back to a CPU."""
    if not share:
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        raise UserError(Fault(f"Ray promises a GPU, and {_sees_none(torch.__version__)}", remedy=WITHOUT))
    return "cuda:0"


def at_once(share: float, gpus: Sequence[float]) -> int:
    """Return how many trials of one worker have their share at once on nodes of so many GPUs: a share is of one GPU."""
    return sum(int(count) for count in gpus) * (UNITS // round(share * UNITS))


def each(share: float, workers: int) -> float:
    """Return what each worker of a trial takes. NCCL lets no two workers of a trial share a GPU: each of several has a
    whole one."""
    return 1.0 if share and workers > 1 else share
