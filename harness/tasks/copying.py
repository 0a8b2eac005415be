"""The copying problem: read symbols, wait, and say them again."""

import math
from typing import ClassVar

from pydantic import Field

from harness.tasks.base import SPLITS, Examples, Shape, Task


class Copying(Task):
    """Copying problem: repeat 10 symbols of 8 after T steps of blanks (long memory, floor 10 ln 8 / (T + 20)).

    Hochreiter and Schmidhuber (1997) in the form of Arjovsky, Shah, Bengio, arXiv:1511.06464: symbols, T - 1 blanks, a
    delimiter, then as many blanks as symbols; due are T + 10 blanks and the symbols, T + 20 answers in all. Without
    memory the best is to be sure of the blanks and to guess each symbol at ln 8 nats.
    """

    delay: int = Field(50, ge=1, le=100_000)
    """T: steps from the last symbol to the first that is due."""
    items: int = Field(10, ge=1, le=10_000)
    symbols: int = Field(8, ge=2, le=10_000)
    train_examples: int = Field(10_000, ge=1)
    test_examples: int = Field(1_000, ge=1)

    mapping: ClassVar = "many-to-many"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "cross_entropy"

    @property
    def shape(self):
        return Shape(steps=self.delay + 2 * self.items, vocabulary=self.symbols + 2, outputs=self.symbols + 1)

    def load(self, split, seed):
        import numpy as np

        n, t = (self.train_examples if split == "train" else self.test_examples), self.shape.steps
        own = seed if split == "train" else 0
        rng = np.random.default_rng([SPLITS.index(split), own, self.delay, self.items, self.symbols])
        blank, delimiter = self.symbols, self.symbols + 1
        inputs, targets = np.full((n, t), blank), np.full((n, t), blank)
        inputs[:, : self.items] = targets[:, -self.items :] = rng.integers(0, self.symbols, (n, self.items))
        inputs[:, -self.items - 1] = delimiter
        return Examples(inputs, targets, np.full(n, t))

    def floor(self):
        return self.items * math.log(self.symbols) / self.shape.steps
