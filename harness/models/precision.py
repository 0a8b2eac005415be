"""Arithmetic of a trial: the dtype of its weights, that of its matrix products, and the scale of its loss.

    float32, float64   weights, products and sums in one dtype
    bfloat16-mixed     float32 weights; products in bfloat16 (8 bits of mantissa, the range of float32)
    float16-mixed      float32 weights; products in float16 (11 bits, 6e-8 to 65504) and a scaled loss

Mixed is torch's autocast (Micikevicius et al., arXiv:1710.03740). Losses and scores are computed in the weights' dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from harness.models.base import Loss
from harness.models.layer import Layer

PRODUCTS = {"bfloat16-mixed": torch.bfloat16, "float16-mixed": torch.float16}
SMALLEST_SCALE, MOST_SKIPS = 1.0, 20
"""A gradient that overflows even at this scale, or so many times in a row, will not recover."""


def weight_dtype(precision: str) -> torch.dtype:
    """Return the dtype in which a trial's weights are held and updated."""
    return torch.float32 if precision in PRODUCTS else getattr(torch, precision)


class Arithmetic:
    """Runs forward passes in the trial's dtypes and, under float16, keeps the loss at a scale that its gradients bear.

    The gradients that `unscale` leaves are those of the loss itself: only then are they measured and clipped.
    """

    def __init__(self, precision: str, device: str) -> None:
        self.device, self.weights, self.products = device, weight_dtype(precision), PRODUCTS.get(precision)
        self.scaler = torch.amp.GradScaler(device) if self.products is torch.float16 else None
        self.skipped = 0  # updates in a row

    @property
    def scale(self) -> float:
        """Factor on the loss in backward passes."""
        return self.scaler.get_scale() if self.scaler else 1.0

    def forward(self) -> AbstractContextManager:
        """Context of a forward pass."""
        return torch.autocast(self.device, self.products) if self.products else nullcontext()

    def exact(self, loss_of: Loss) -> Loss:
        """Return the same loss, computed in the weights' dtype."""
        if self.products is None:
            return loss_of

        def loss(answers: Tensor, targets: Tensor) -> Tensor:
            with torch.autocast(self.device, enabled=False):
                return loss_of(answers.to(self.weights), targets)

        return loss

    def backward(self, loss: Tensor, differentiate: Callable[[Tensor], None]) -> None:
        """Differentiate the scaled loss; autocast is for forward passes, and backward ones follow their dtypes."""
        if self.products is None:
            return differentiate(loss)
        with torch.autocast(self.device, enabled=False):
            differentiate(self.scaler.scale(loss) if self.scaler else loss)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide the gradients by the scale."""
        if self.scaler:
            self.scaler.unscale_(optimizer)

    def skips(self, finite: bool) -> bool:
        """Whether to leave this update out because its gradient overflowed at a scale that can still be lowered."""
        self.skipped = 0 if finite else self.skipped + 1
        return not finite and self.scaler is not None and self.scale > SMALLEST_SCALE and self.skipped < MOST_SKIPS

    def adjust(self) -> None:
        """Lower the scale after an overflow, raise it after a long time without one."""
        if self.scaler:
            self.scaler.update()

    def state(self) -> dict[str, Any]:
        """Return the scale and its history, for a checkpoint."""
        return {"skipped": self.skipped, "scaler": self.scaler.state_dict() if self.scaler else {}}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.skipped = state["skipped"]
        if self.scaler:
            self.scaler.load_state_dict(state["scaler"])


def choose_kernels(model: nn.Module, arithmetic: Arithmetic) -> None:
    """Give each layer whose fused kernel lacks the trial's dtype on this device a loop instead, which the record names.

    Found by trying one step, because it depends on the CPU and on what torch was built with.
    """
    if arithmetic.products is None:
        return
    for layer in (m for m in model.modules() if isinstance(m, Layer) and m.kernel == "fused"):
        x_BTD = layer.weight_ih.new_zeros(1, 1, layer.weight_ih.shape[1])
        try:
            with arithmetic.forward():
                out_BTH, *_ = layer(x_BTD, layer.zero_state(1), [1])
            torch.autograd.grad(out_BTH.sum(), layer.weight_ih)
        except RuntimeError:  # oneDNN has no LSTM in float16 for most CPUs
            layer.kernel = "loop"
