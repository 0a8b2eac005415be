"""How near a trial came to what the machine can do at best (limits.py): the recurrent roofline.

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
from pathlib import Path
from typing import Any

from harness import cost
from harness.record import Record
from harness.training import limits
from harness.training.workers import Workers
from harness.trial import Trial

LOOPS = ("ATen loop", "Python loop")
PASSES = {"adam": 10, "sgd": 6}
"""Times that each weight's 4 bytes move in an update: read forward and back, its gradient written, and what the
optimiser reads and writes."""


def observed(trial: Trial, record: Record, worker: Workers) -> dict[str, Any]:
    """Return the fields of a record that tell what was possible where this worker trained, and how near its trial came.
    It has ended well.

    Of several workers the products are shared out, and the limits are those of as many machines like the first's.
    """
    best = limits.known(trial.threads, trial.precision, worker)
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
        self._peak: int | None = None
        try:
            (own / "clear_refs").write_text("5")  # begins the count anew: a worker serves many trials
            self.counts = True
        except OSError:  # another system, or a container that forbids it
            self.counts = False

    def peak(self) -> int:
        """Bytes, up to when this was first asked."""
        if self._peak is None:
            self._peak = self._read()
        return self._peak

    def _read(self) -> int:
        if not self.counts:
            return 0
        lines = (self.own / "status").read_text().splitlines()
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
