"""Losses and scores by name: the vocabulary that tasks choose from.

A loss returns (sum over what is due, how much is due), so that windows and workers of different sizes add up to the
exact mean. Scores are torchmetrics' own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torchmetrics
from torch import Tensor
from torch.nn import functional as F

from harness.tasks.base import Shape

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


LOSSES: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {"cross-entropy": cross_entropy, "mse": mse}


class CrossEntropy(torchmetrics.Metric):
    """Mean over due targets of -log p(target), in float64: nats, or bits where `unit` is ln 2 nats."""

    def __init__(self, unit: float = 1.0) -> None:
        super().__init__()
        self.unit = unit
        for name in ("nats", "due"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, output_BO: Tensor, target_B: Tensor) -> None:
        """Add answers (..., O), any constant apart log probabilities, and targets (...)."""
        nats, due = cross_entropy(output_BO.double(), target_B)
        self.nats += nats
        self.due += due

    def compute(self) -> Tensor:
        """Nats over `unit`; NaN where nothing was due."""
        return self.nats / self.due / self.unit


class WrittenAccuracy(torchmetrics.Metric):
    """Share of due symbols written rightly at their place or, `whole`, of sequences without a fault in what is due."""

    def __init__(self, whole: bool) -> None:
        super().__init__()
        self.whole = whole
        for name in ("right", "due"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, written_BU: Tensor, target_BU: Tensor) -> None:
        """Add what was written (B, U') and targets (B, U). A symbol that is missing is wrong."""
        missing = target_BU.shape[1] - written_BU.shape[1]
        written_BU = F.pad(written_BU, (0, max(0, missing)), value=IGNORE)[:, : target_BU.shape[1]]
        due_BU = target_BU != IGNORE
        right_BU = (written_BU == target_BU) & due_BU
        if self.whole:
            due = due_BU.any(1)
            right_BU, due_BU = (right_BU == due_BU).all(1) & due, due
        self.right += right_BU.sum()
        self.due += due_BU.sum()

    def compute(self) -> Tensor:
        """Share; NaN where nothing was due."""
        return self.right / self.due


def score(metric: str, shape: Shape) -> torchmetrics.Metric:
    """Return a fresh torchmetrics metric for a task's metric name; feed it with `update(predictions, target)`."""
    if metric == "accuracy":
        return torchmetrics.classification.MulticlassAccuracy(shape.outputs, average="micro", ignore_index=IGNORE)
    if metric == "cross_entropy":
        return CrossEntropy()
    if metric == "bits_per_character":
        return CrossEntropy(unit=math.log(2))
    if metric in ("token_accuracy", "sequence_accuracy"):
        return WrittenAccuracy(whole=metric == "sequence_accuracy")
    if metric == "mse":
        return torchmetrics.MeanSquaredError()
    raise AssertionError(f"no score is called {metric!r}")
