"""What is lost of the gradient when backpropagation through time is cut at k steps?"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from harness.data.batches import Batch
from harness.models.truncation import Bias, lengths_to_try, truncation_bias
from harness.probes.base import Probe
from harness.training.module import RecurrentModule

SEQUENCES = 8
"""Bound on one look at the end of training. Measured for H=64, T=64, one thread: 0.04 to 0.22 s, one or two layers."""


class Truncation(Probe):
    """Cosine and norm ratio of the truncated against the full gradient of the recurrent layers, on the trained weights.

    For windows of 1, 2, 4, ... steps and the trial's own length, on sequences of the last full batch. Empty where
    there is nothing to cut (no state, one step) and after a trial that diverged.
    """

    kept: ClassVar = ("batch", "examples")

    def __init__(self, trial) -> None:
        super().__init__(trial)
        self.batch: tuple[Tensor, Tensor, Tensor] | None = None
        self.examples = 0
        self.found: list[Bias] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        """Keep the batch; the last of a budget may be a small rest."""
        examples = len(batch.full.lengths)
        if examples >= self.examples:
            self.batch, self.examples = batch.full[:3], examples

    def on_train_end(self, trainer, pl_module: RecurrentModule) -> None:
        """Measure the trained weights."""
        if self.batch is None or pl_module.failure is not None or not pl_module.model.remembers:
            return
        inputs, targets, lengths = (part[:SEQUENCES] for part in self.batch)
        few = pl_module.transfer_batch_to_device(Batch(inputs, targets, lengths), pl_module.device, 0)
        own = None if pl_module.task.stream else self.trial.bptt_length
        tried = lengths_to_try(pl_module.model.reach(few), own)
        self.found = truncation_bias(pl_module.model, few, pl_module.loss_of, tried)

    def observed(self) -> dict[str, Any]:
        """By window length."""
        return {
            "truncation_k": [bias.length for bias in self.found],
            "truncation_cosine": [bias.cosine for bias in self.found],
            "truncation_norm_ratio": [bias.norm_ratio for bias in self.found],
        }
