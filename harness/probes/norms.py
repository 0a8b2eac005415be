"""How large are the gradients before and after clipping, how often are they clipped, and how does the loss move?"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from harness.probes.base import Probe, last_update
from harness.stability import spikes


class Norms(Probe):
    """Loss, global gradient norm before and after clipping, and clip activity, at every update."""

    kept: ClassVar = ("losses", "norms", "after", "clipped", "skipped", "tokens", "padded", "examples")

    def __init__(self, trial) -> None:
        super().__init__(trial)
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.after: list[float] = []
        self.clipped = self.skipped = self.tokens = self.padded = self.examples = 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        """Take what the update measured itself: after it, gradients are already clipped."""
        update = last_update(pl_module)
        self.losses.append(update.loss)
        self.norms.append(update.clipped.before)
        self.after.append(update.clipped.after)
        self.clipped += update.clipped.clipped
        self.skipped += update.skipped
        self.tokens += update.tokens
        self.padded += update.padded_tokens
        self.examples += update.examples

    def observed(self) -> dict[str, Any]:
        """Quantiles over finite norms; a non-finite one is an event of its own and ends the trial."""
        finite, after = ([n for n in norms if math.isfinite(n)] for norms in (self.norms, self.after))
        tail = self.losses[-max(1, len(self.losses) // 10) :]
        median, p99 = np.quantile(finite, [0.5, 0.99]).tolist() if finite else (math.nan, math.nan)
        return {
            "updates": len(self.norms),
            "skipped_updates": self.skipped,
            "examples": self.examples,
            "tokens": self.tokens,
            "padded_tokens": self.padded,
            "train_loss": float(np.mean(tail)) if tail else math.nan,
            "loss_spikes": spikes(self.losses),
            "gradient_norms": self.norms,
            "gradient_norm_median": median,
            "gradient_norm_p99": p99,
            "gradient_norm_max": max(finite, default=math.nan),
            "gradient_norm_after_median": float(np.median(after)) if after else math.nan,
            "clipped_share": self.clipped / len(self.norms) if self.norms else math.nan,
        }
