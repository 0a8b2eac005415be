"""How many useful time steps are trained in a second, once things run steadily?"""

from __future__ import annotations

import math
import time
from typing import Any, ClassVar

import numpy as np

from harness.probes.base import Probe, last_update


class Throughput(Probe):
    """Wall time of each update, from the end of the one before: data, Lightning and probes included.

    Of trials that train in a pack (harness/pack/), each has its share of the time that passes for all of them.
    Evaluation is left out: the clock starts again after it. The first tenth of the updates, at least 3, is warm-up.
    Raw values are kept; the rate is the median over the rest of useful tokens (padding excluded) per second.
    """

    kept: ClassVar = ("seconds", "tokens")

    def __init__(self, trial) -> None:
        super().__init__(trial)
        self.seconds: list[float] = []
        self.tokens: list[int] = []
        self.mark = math.nan

    def on_train_start(self, trainer, pl_module) -> None:
        """Start the clock."""
        self.mark = time.perf_counter()

    def on_validation_end(self, trainer, pl_module) -> None:
        """Start it again: what evaluation took is nobody's update."""
        self.mark = time.perf_counter()

    def skip_time(self) -> None:
        """And again."""
        self.mark = time.perf_counter()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        """Take the time of this update."""
        now = time.perf_counter()
        self.seconds.append((now - self.mark) / pl_module.progress.beside)
        self.tokens.append(last_update(pl_module).tokens)
        self.mark = now

    def observed(self) -> dict[str, Any]:
        """Median rate after the warm-up, and every raw duration."""
        warm = min(len(self.seconds) - 1, max(3, len(self.seconds) // 10)) if self.seconds else 0
        rates = np.array(self.tokens[warm:]) / np.array(self.seconds[warm:]) if self.seconds else np.array([])
        return {
            "tokens_per_second": float(np.median(rates)) if len(rates) else math.nan,
            "update_seconds": self.seconds,
            "warmup_updates": warm,
            "train_seconds": float(np.sum(self.seconds)),
        }
