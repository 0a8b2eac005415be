"""Losses by name: the vocabulary that tasks choose from.

A loss returns (sum over what is due, how much is due), so that windows and workers of different sizes add up to the
exact mean.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE = -100  # a class that is not due


def cross_entropy(output_BO: Tensor, target_B: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of -log p(target) in nats over targets that are due, and their number. Any leading shape."""
    flat, due = output_BO.flatten(0, -2), target_B != IGNORE
    return F.cross_entropy(flat, target_B.flatten(), reduction="sum", ignore_index=IGNORE), due.sum()


def mse(output_BO: Tensor, target_BO: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of squared errors over values that are due (NaN is not), and their number."""
    missing = target_BO.isnan()
    # what is missing is set to the answer itself: no error and no gradient, without a copy of the errors
    target_BO = torch.where(missing, output_BO.detach(), target_BO.to(output_BO.dtype))
    return F.mse_loss(output_BO, target_BO, reduction="sum"), (~missing).sum()


def binary_cross_entropy(output_BO: Tensor, target_BO: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of -log p in nats over 0/1 values that are due (NaN is not), from logits, and their number."""
    missing = target_BO.isnan()
    target_BO = target_BO.masked_fill(missing, 0).to(output_BO.dtype)
    nats = F.binary_cross_entropy_with_logits(output_BO, target_BO, reduction="none")
    return nats.masked_fill(missing, 0).sum(), (~missing).sum()


LOSSES: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "cross-entropy": cross_entropy,
    "mse": mse,
    "binary-cross-entropy": binary_cross_entropy,
}
"""Losses that add up over steps; heads.py has those of whole sequences."""
