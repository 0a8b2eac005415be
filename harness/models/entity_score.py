"""F1 of entities: the score of named entity recognition."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.data.read_entities import f1, matches
from harness.models.objectives import IGNORE
from harness.models.scores import References, Score
from harness.tasks.base import Task


class EntityF1(Score):
    """F1 of whole entities over the split, type and both ends right, as conlleval and seqeval count them."""

    def __init__(self, task: Task) -> None:
        super().__init__(("right", "marked", "due"))
        self.task = task

    def update(self, answers: Tensor, targets: Tensor, references: References = None) -> None:
        """Add answers, classes (B, T) or scores of each (B, T, O), and targets (B, T)."""
        chosen = answers.argmax(-1) if answers.is_floating_point() else answers
        for answer, target in zip(chosen.cpu().numpy(), targets.cpu().numpy(), strict=True):
            due = target != IGNORE
            counts = matches(self.task.said(answer[due]).split(), self.task.said(target[due]).split())
            for name, count in zip(("right", "marked", "due"), counts, strict=True):
                setattr(self, name, getattr(self, name) + count)

    def compute(self) -> Tensor:
        """F1."""
        return torch.tensor(f1(float(self.right), float(self.marked), float(self.due)), dtype=torch.float64)
