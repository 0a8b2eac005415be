"""How fast does a small change of the trained layers' state grow or die?"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness.data.batches import Batch
from harness.models.lyapunov import Spectrum, spectrum
from harness.probes.base import Probe
from harness.training.module import RecurrentModule

SEQUENCES, STEPS, EXPONENTS = 4, 256, 8
"""Bounds on one look at the end of training. Measured for H=64, T=64, one thread: 0.05 to 0.16 s, one or two layers."""


class Lyapunov(Probe):
    """The largest exponents of the trained layers, driven by the longest sequences of the last full batch, none
    of half the longest or less.

    The first quarter of the steps settles. `predicted_decay` is of the trained weights, where `gradient_decay` is a
    median over updates along the way: of 36 trials of 20 updates (three cells, H=64) they correlate at 0.96 and lie
    0.05 apart (root mean square), 0.12 at most, where memory opened while it was learned.

    The layers are those whose gradient by lag is watched: of an encoder-decoder those that read, of one-to-many those
    that write, fed the right symbols. Of two directions each is a system of its own, in the order in which it reads.
    Empty for layers without state, for sequences of one step, and after a trial that diverged.
    """

    kept: ClassVar = ("batch", "examples")

    def __init__(self, trial) -> None:
        super().__init__(trial)
        self.batch: tuple[Tensor, Tensor, Tensor] | None = None
        self.examples = 0
        self.found: Spectrum | None = None

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        """Keep the batch; the last of a budget may be a small rest."""
        examples = len(batch.full.lengths)
        if examples >= self.examples:
            self.batch, self.examples = batch.full[:3], examples

    def on_train_end(self, trainer, pl_module: RecurrentModule) -> None:
        """Measure the trained weights."""
        model, training = pl_module.model, pl_module.model.training
        if self.batch is None or pl_module.failure is not None or not model.remembers:
            return
        model.eval()  # no dropout, and so no draw
        batch = pl_module.transfer_batch_to_device(Batch(*self.batch), pl_module.device, 0)
        with torch.no_grad():
            stack, x_BTD, lengths_B, start = model.driven(batch)
        model.train(training)
        longest = lengths_B.sort(descending=True, stable=True)
        # as many steps are looked at as the shortest has: one of a single step would leave none
        rows = longest.indices[2 * longest.values > longest.values[0]][:SEQUENCES]
        x_BTD, lengths_B, start = x_BTD[rows], lengths_B[rows], [tuple(s[rows] for s in state) for state in start]
        steps = min(int(lengths_B.min()), STEPS)
        if steps > 1:
            self.found = spectrum(stack, x_BTD, EXPONENTS, steps // 4, lengths_B, start, steps)

    def observed(self) -> dict[str, Any]:
        """Exponents, and the gradient decay that the largest one predicts; nothing where a state is not finite."""
        if self.found is None or bool(self.found.exponents.isnan().any()):
            return {"lyapunov": [], "lyapunov_steps": 0, "predicted_decay": math.nan}
        return {
            "lyapunov": self.found.exponents.tolist(),
            "lyapunov_steps": self.found.steps,
            "predicted_decay": self.found.predicted_decay,
        }
