"""How large is an update beside the weights it changes?"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch

from harness.probes.base import Probe, last_update


class UpdateRatio(Probe):
    """Norm of the change of all weights over the norm of the weights before it, on sampled updates."""

    kept: ClassVar = ("ratios",)

    def __init__(self, trial) -> None:
        super().__init__(trial)
        self.before: list[torch.Tensor] | None = None
        self.ratios: list[float] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        """Copy the weights when this update is sampled."""
        self.before = [p.detach().clone() for p in pl_module.parameters()] if self.samples(batch_idx) else None

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        """Compare with the weights after the step."""
        if self.before is None or last_update(pl_module).skipped:
            return
        pairs = zip(pl_module.parameters(), self.before, strict=True)
        change = torch.stack([(after.detach() - before).norm() for after, before in pairs])
        size = torch.stack([b.norm() for b in self.before]).norm()
        self.ratios.append(float(change.norm() / size))

    def observed(self) -> dict[str, Any]:
        """Median over the sampled updates."""
        return {"update_ratio_median": float(np.median(self.ratios)) if self.ratios else math.nan}
