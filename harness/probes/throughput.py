"""How many useful time steps are trained in a second, once things run steadily?"""

from __future__ import annotations

import math
import time
from typing import Any, ClassVar

import numpy as np

from harness.probes.base import Probe, last_update
from harness.stats.quarters import quickest


class Throughput(Probe):
    """Time of each update, from the end of the one before: data, Lightning and probes included.

    Of trials that train in a pack (harness/pack/), each has its share of the time that passes for all of them.
    Evaluation is left out: the clocks start again after it. The first tenth of the updates, at least 3, is warm-up.
    Raw values of the wall clock are kept; the rate is the median over the rest of useful tokens (padding excluded) per
    second. Of a trial of one thread on a CPU the process's CPU time is taken as well, which does not run while others
    have the core: of that the quickest update of each quarter is kept, and what share of the wall time it was.
    """

    kept: ClassVar = ("seconds", "cpu_seconds", "tokens", "one_thread")

    def __init__(self, trial) -> None:
        super().__init__(trial)
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.tokens: list[int] = []
        self.mark = self.cpu_mark = math.nan
        self.one_thread = False

    def on_train_start(self, trainer, pl_module) -> None:
        """Start the clocks. The CPU time of several threads, of one worker of several, or of who hands work to a GPU
        says nothing of how long an update takes."""
        workers = pl_module.workers
        self.one_thread = self.trial.threads == 1 and not workers.several and workers.device.type == "cpu"
        self.skip_time()

    def on_validation_end(self, trainer, pl_module) -> None:
        """Start them again: what evaluation took is nobody's update."""
        self.skip_time()

    def skip_time(self) -> None:
        """And again."""
        self.mark, self.cpu_mark = time.perf_counter(), time.process_time()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        """Take the time of this update."""
        now, cpu_now, beside = time.perf_counter(), time.process_time(), pl_module.progress.beside
        self.seconds.append((now - self.mark) / beside)
        self.cpu_seconds.append((cpu_now - self.cpu_mark) / beside)
        self.tokens.append(last_update(pl_module).tokens)
        self.mark, self.cpu_mark = now, cpu_now

    def observed(self) -> dict[str, Any]:
        """Median rate after the warm-up, every raw duration, and what is kept of the CPU time."""
        warm = min(len(self.seconds) - 1, max(3, len(self.seconds) // 10)) if self.seconds else 0
        rates = np.array(self.tokens[warm:]) / np.array(self.seconds[warm:]) if self.seconds else np.array([])
        return {
            "tokens_per_second": float(np.median(rates)) if len(rates) else math.nan,
            "update_seconds": self.seconds,
            "warmup_updates": warm,
            "train_seconds": float(np.sum(self.seconds)),
            **(self._of_cpu(warm) if self.one_thread and self.seconds else {}),
        }

    def _of_cpu(self, warm: int) -> dict[str, Any]:
        share = sum(self.cpu_seconds[warm:]) / sum(self.seconds[warm:])
        return {"update_cpu_seconds": quickest(self.cpu_seconds[warm:]), "cpu_share": share}
