"""How does the score on held-out data develop over the budget?"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from harness.metrics import METRICS
from harness.probes.base import Probe, last_update
from harness.training.module import RecurrentModule


class LearningCurve(Probe):
    """Validation score and mean training loss since the last point, at equal distances of the budget."""

    kept: ClassVar = ("examples", "tokens", "losses", "points")

    def __init__(self, trial) -> None:
        super().__init__(trial)
        self.examples = self.tokens = 0
        self.losses: list[float] = []
        self.points: list[tuple[int, int, float, float]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        """Count."""
        update = last_update(pl_module)
        self.examples += update.examples
        self.tokens += update.tokens
        self.losses.append(update.loss)

    def on_validation_epoch_end(self, trainer, pl_module: RecurrentModule) -> None:
        """Add a point; a trial that has just diverged has none, although Lightning evaluates it once more."""
        score, loss = pl_module.take_score(), float(np.mean(self.losses)) if self.losses else math.nan
        if pl_module.failure is None:
            self.points.append((self.examples, self.tokens, score, loss))
        self.losses = []

    def observed(self) -> dict[str, Any]:
        """The curve, and the validation score of the weights that are tested: its last point, or its best one."""
        examples, tokens, scores, losses = ([point[i] for point in self.points] for i in range(4))
        return {
            "curve_examples": examples,
            "curve_tokens": tokens,
            "curve_valid_score": scores,
            "curve_train_loss": losses,
            "valid_score": self._valid(scores) if scores and examples[-1] == self.examples else math.nan,
        }

    def _valid(self, scores: list[float]) -> float:
        if self.trial.select == "last":
            return scores[-1]
        higher = METRICS[self.trial.build_task().metric].better == "higher"
        return max(scores) if higher else min(scores)
