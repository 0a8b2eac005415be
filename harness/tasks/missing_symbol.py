"""A hole in a sequence: what stands there is known only to those who read on."""

from typing import ClassVar

from pydantic import Field

from harness.tasks.base import SPLITS, Examples, Shape, Task


class MissingSymbol(Task):
    """Missing middle symbol: a random sequence, its second half the first mirrored, one symbol blanked out.

    The blank is in the first half, so its value stands later, at the mirrored place: reading forward, a network must
    answer before it has seen it (chance, 1 / symbols); reading both ways, it can (Schuster and Paliwal, IEEE Trans.
    Signal Processing 45, 1997). Aligned: the answer is due at the blank and nowhere else. The blank is at `gap` steps
    before the middle.
    """

    half: int = Field(8, ge=1, le=10_000)
    gap: int = Field(1, ge=1)
    symbols: int = Field(8, ge=2, le=1_000)
    train_examples: int = Field(10_000, ge=1)
    held_out_examples: int = Field(2_000, ge=1)

    mapping: ClassVar = "many-to-many"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "accuracy"

    @property
    def shape(self):
        return Shape(steps=2 * self.half, vocabulary=self.symbols + 1, outputs=self.symbols)

    def load(self, split, seed):
        import numpy as np

        n = self.train_examples if split == "train" else self.held_out_examples
        rng = np.random.default_rng([SPLITS.index(split), seed if split == "train" else 0, self.half])
        first = rng.integers(0, self.symbols, (n, self.half))
        inputs = np.concatenate([first, first[:, ::-1]], 1)
        hole = max(0, self.half - self.gap)
        targets = np.full_like(inputs, -100)
        targets[:, hole] = inputs[:, hole]
        inputs[:, hole] = self.symbols  # the blank
        return Examples(inputs, targets, np.full(n, 2 * self.half))

    def floor(self):
        return 1 / self.symbols
