"""Scores: what is counted on held-out data. Each takes batch after batch and gives one number (by name: scoring.py).

Texts are scored by the field's reference implementations (text_scores.py). A score says what it reads: "answer", what
the model gives by itself, or "forced", its predictions where the right answers so far are given (perplexity).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
import torchmetrics
from torch import Tensor
from torch.nn import functional as F

from harness.models.objectives import IGNORE, binary_cross_entropy, cross_entropy, due, mse

MOST_VALUES = 1 << 24  # turned into float64 at a time: 128 MiB; a window of 10,000 words for each answer is 82 million
References = Sequence[Sequence[str]] | None


class Score(torchmetrics.Metric):
    """One number over a split; NaN where nothing was due."""

    reads: ClassVar[Literal["answer", "forced"]] = "answer"
    full_state_update = False  # what is counted of one batch does not depend on those before

    def __init__(self, sums: Sequence[str] = ("total", "due")) -> None:
        super().__init__()
        for name in sums:
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")


class Accuracy(Score):
    """Share of due classes that are right: of scores (..., O) the largest, or of decoded classes (...)."""

    def update(self, answers: Tensor, targets: Tensor, references: References = None) -> None:
        """Add a batch."""
        chosen = answers.argmax(-1) if answers.is_floating_point() else answers
        due = targets != IGNORE
        self.total += ((chosen == targets) & due).sum()
        self.due += due.sum()

    def compute(self) -> Tensor:
        """Share."""
        return self.total / self.due


class CrossEntropy(Score):
    """Mean over due targets of -log p(target), in float64: nats, or bits where `unit` is ln 2 nats."""

    reads = "forced"

    def __init__(self, unit: float = 1.0) -> None:
        super().__init__()
        self.unit = unit

    def update(self, output_BO: Tensor, target_B: Tensor, references: References = None) -> None:
        """Add answers (..., O), any constant apart log probabilities, and targets (...)."""
        rows = max(1, MOST_VALUES // output_BO.shape[-1])
        for scores_BO, part_B in zip(output_BO.flatten(0, -2).split(rows), target_B.flatten().split(rows), strict=True):
            self.total += cross_entropy(scores_BO.double(), part_B)
        self.due += due(target_B)

    def compute(self) -> Tensor:
        """Nats over `unit`."""
        return self.total / self.due / self.unit


class Perplexity(CrossEntropy):
    """exp of the mean of -log p(target)."""

    def compute(self) -> Tensor:
        """Perplexity."""
        return super().compute().exp()


class NatsPerStep(Score):
    """-log p of all values of a step together, values independent given the past: mean over due steps."""

    def update(self, output_BTO: Tensor, target_BTO: Tensor, references: References = None) -> None:
        """Add logits and 0/1 targets (B, T, O)."""
        self.total += binary_cross_entropy(output_BTO.double(), target_BTO.double())
        self.due += (~target_BTO.isnan()).any(-1).sum()

    def compute(self) -> Tensor:
        """Nats."""
        return self.total / self.due


class NatsPerSequence(Score):
    """-log p of whole sequences of known length: nats per due value, times the values of one."""

    def __init__(self, values: int) -> None:
        super().__init__()
        self.values = values

    def update(self, answers: Tensor, targets: Tensor, references: References = None) -> None:
        """Add logits: of 0/1 values, or of classes."""
        loss = binary_cross_entropy if targets.is_floating_point() else cross_entropy
        self.total += loss(answers.double(), targets.double() if targets.is_floating_point() else targets)
        self.due += due(targets)

    def compute(self) -> Tensor:
        """Nats."""
        return self.total / self.due * self.values


class SquaredError(Score):
    """Mean squared error over due values; with a `floor`, the skill 1 - mse / floor."""

    def __init__(self, floor: float | None = None) -> None:
        super().__init__()
        self.floor = floor

    def update(self, answers: Tensor, targets: Tensor, references: References = None) -> None:
        """Add answers and targets of one shape."""
        self.total += mse(answers.double(), targets.double())
        self.due += due(targets)

    def compute(self) -> Tensor:
        """Error, or skill."""
        error = self.total / self.due
        return error if self.floor is None else 1 - error / self.floor


class WrittenAccuracy(Score):
    """Share of due symbols written rightly at their place or, `whole`, of sequences without a fault in what is due."""

    def __init__(self, whole: bool) -> None:
        super().__init__()
        self.whole = whole

    def update(self, written_BU: Tensor, target_BU: Tensor, references: References = None) -> None:
        """Add what was written (B, U') and targets (B, U). A symbol that is missing is wrong."""
        missing = target_BU.shape[1] - written_BU.shape[1]
        written_BU = F.pad(written_BU, (0, max(0, missing)), value=IGNORE)[:, : target_BU.shape[1]]
        due_BU = target_BU != IGNORE
        right_BU = (written_BU == target_BU) & due_BU
        if self.whole:
            due = due_BU.any(1)
            right_BU, due_BU = (right_BU == due_BU).all(1) & due, due
        self.total += right_BU.sum()
        self.due += due_BU.sum()

    def compute(self) -> Tensor:
        """Share."""
        return self.total / self.due
