"""Delayed recall: say at each step which symbol came some steps ago."""

from typing import ClassVar

from pydantic import Field

from harness.tasks.base import SPLITS, Examples, Shape, Task

NOT_DUE = -100


class DelayedRecall(Task):
    """Delayed recall: name, at every step, the symbol shown `delay` steps before (accuracy by delay, floor 1/symbols).

    Jaeger, "Short term memory in echo state networks", GMD report 152 (2001), with symbols for his numbers. To answer
    is to hold the last `delay` + 1 symbols in order, so that accuracy by delay is how far back the network's memory
    reaches. Symbols are uniform and independent; nothing is due in the first `delay` steps, then `recalls` answers.
    """

    delay: int = Field(10, ge=0, le=100_000)
    symbols: int = Field(4, ge=2, le=10_000)
    recalls: int = Field(40, ge=1, le=100_000)
    train_examples: int = Field(5_000, ge=1)
    test_examples: int = Field(500, ge=1)

    mapping: ClassVar = "many-to-many"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "accuracy"

    @property
    def shape(self):
        return Shape(steps=self.delay + self.recalls, vocabulary=self.symbols, outputs=self.symbols)

    def load(self, split, seed):
        import numpy as np

        n, t = (self.train_examples if split == "train" else self.test_examples), self.shape.steps
        own = seed if split == "train" else 0
        rng = np.random.default_rng([SPLITS.index(split), own, self.delay, self.symbols, self.recalls])
        inputs = rng.integers(0, self.symbols, (n, t))
        targets = np.full((n, t), NOT_DUE)
        targets[:, self.delay :] = inputs[:, : self.recalls]
        return Examples(inputs, targets, np.full(n, t))

    def floor(self):
        return 1 / self.symbols
