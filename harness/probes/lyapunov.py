"""How fast does a small change of the trained layers' state grow or die?"""

from __future__ import annotations

import math
from typing import Any

import torch

from harness.data.batches import Batch
from harness.models.lyapunov import Spectrum, spectrum
from harness.models.sequence import SequenceModel
from harness.module import RecurrentModule
from harness.probes.base import Probe

SEQUENCES, STEPS, EXPONENTS = 4, 256, 8
"""Bounds on one look at the end of training. Measured for H=64, T=64, one thread: 0.05 to 0.16 s, one or two layers."""


class Lyapunov(Probe):
    """The largest exponents of the trained layers, driven by the longest sequences of the last full batch.

    The first quarter of the steps settles. `predicted_decay` is of the trained weights, where `gradient_decay` is a
    median over updates along the way: of 36 trials of 20 updates (three cells, H=64) they correlate at 0.96 and lie
    0.05 apart (root mean square), 0.12 at most, where memory opened while it was learned.

    Empty for layers without state, for two directions (no one-step map), for encoder-decoders (two stacks; which one
    is asked for is open), and after a trial that diverged.
    """

    def __init__(self, trial) -> None:
        super().__init__(trial)
        self.batch: Batch | None = None
        self.found: Spectrum | None = None

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        """Keep the batch; the last of a budget may be a small rest."""
        if self.batch is None or len(batch.inputs) >= len(self.batch.inputs):
            self.batch = batch

    def on_train_end(self, trainer, pl_module: RecurrentModule) -> None:
        """Measure the trained weights."""
        model, batch = pl_module.model, self.batch
        if batch is None or pl_module.failure is not None or not isinstance(model, SequenceModel):
            return
        longest = batch.lengths.sort(descending=True, stable=True).indices[:SEQUENCES]
        steps = min(int(batch.lengths[longest].min()), STEPS)
        if model.remembers and model.stack.directions == 1 and steps > 1:
            with torch.no_grad():
                x_BTD = model.encode(batch.inputs[longest, :steps])
            self.found = spectrum(model.stack, x_BTD, EXPONENTS, skip=steps // 4)

    def observed(self) -> dict[str, Any]:
        """Exponents, and the gradient decay that the largest one predicts; nothing where a state is not finite."""
        if self.found is None or bool(self.found.exponents.isnan().any()):
            return {"lyapunov": [], "lyapunov_steps": 0, "predicted_decay": math.nan}
        return {
            "lyapunov": self.found.exponents.tolist(),
            "lyapunov_steps": self.found.steps,
            "predicted_decay": self.found.predicted_decay,
        }
