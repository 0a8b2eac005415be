"""Losses by name: the vocabulary that tasks choose from.

A loss returns the sum over what is due, so that windows and workers of different sizes add up to the exact mean. With
`reduction="none"` it returns its terms instead, 0 where nothing is due, in the order of the targets.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE = -100  # a class that is not due


def missing(targets: Tensor) -> Tensor:
    """Where no target is due: a class of -100, a NaN value."""
    return targets.isnan() if targets.is_floating_point() else targets == IGNORE


def due(targets: Tensor) -> int:
    """Count the targets that are due."""
    return targets.numel() - int(missing(targets).count_nonzero())


def cross_entropy(output_BO: Tensor, target_B: Tensor, reduction: str = "sum") -> Tensor:
    """Sum of -log p(target) in nats over targets that are due. Any leading shape."""
    return F.cross_entropy(output_BO.flatten(0, -2), target_B.flatten(), reduction=reduction, ignore_index=IGNORE)


def mse(output_BO: Tensor, target_BO: Tensor, reduction: str = "sum") -> Tensor:
    """Sum of squared errors over values that are due (NaN is not)."""
    # what is missing is set to the answer itself: no error and no gradient, without a copy of the errors
    target_BO = torch.where(target_BO.isnan(), output_BO.detach(), target_BO.to(output_BO.dtype))
    return F.mse_loss(output_BO, target_BO, reduction=reduction)


def binary_cross_entropy(output_BO: Tensor, target_BO: Tensor, reduction: str = "sum") -> Tensor:
    """Sum of -log p in nats over 0/1 values that are due (NaN is not), from logits."""
    missing = target_BO.isnan()
    target_BO = target_BO.masked_fill(missing, 0).to(output_BO.dtype)
    nats = F.binary_cross_entropy_with_logits(output_BO, target_BO, reduction="none")
    terms = nats.masked_fill(missing, 0)
    return terms.sum() if reduction == "sum" else terms


LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross-entropy": cross_entropy,
    "mse": mse,
    "binary-cross-entropy": binary_cross_entropy,
}
"""Losses that add up over steps; heads.py has those of whole sequences."""
