"""Writing a sequence backwards: synthetic, of any length, and far apart where it matters."""

from typing import ClassVar

from pydantic import Field

from harness.tasks.base import END, SPLITS, Examples, Shape, Task


class Reversal(Task):
    """Reversal: read symbols, write them in reverse order, then stop (encoder-decoder).

    Sequence reversal of Grefenstette et al., arXiv:1506.02516, with lengths drawn from U{shortest..length} and symbols
    from U{1..symbols}. The last symbol read is the first written, so distances are 1, 3, 5, ... steps.
    """

    length: int = Field(10, ge=1, le=10_000)
    shortest: int = Field(1, ge=1, le=10_000)
    """Shortest sequence; at most `length`, which it is cut to."""
    symbols: int = Field(8, ge=1, le=10_000)
    train_examples: int = Field(10_000, ge=1)
    valid_examples: int = Field(500, ge=1)
    test_examples: int = Field(2_000, ge=1)

    mapping: ClassVar = "encoder-decoder"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "token_accuracy"
    shared_symbols: ClassVar = True

    @property
    def shape(self):
        return Shape(
            steps=self.length, vocabulary=self.symbols + 1, outputs=self.symbols + 1, target_steps=self.length + 1
        )

    def load(self, split, seed):
        import numpy as np

        n, t = getattr(self, f"{split}_examples"), self.length
        rng = np.random.default_rng([SPLITS.index(split), seed if split == "train" else 0, t])
        lengths = rng.integers(min(self.shortest, t), t + 1, n)
        step = np.arange(t + 1)
        inputs = np.where(step[:t] < lengths[:, None], rng.integers(1, self.symbols + 1, (n, t)), 0)
        backwards = np.take_along_axis(inputs, np.clip(lengths[:, None] - 1 - step, 0, None), 1)
        targets = np.where(step < lengths[:, None], backwards, np.where(step == lengths[:, None], END, -100))
        return Examples(inputs, targets, lengths)

    def floor(self):
        """Best sequence that is written whatever was read: any symbol at places before j, END at j, best over j.

        max over j of [sum over u < j of P(L > u) / symbols + P(L = j)] / (E[L] + 1)
        """
        import numpy as np

        lengths = np.arange(min(self.shortest, self.length), self.length + 1)
        place_U1 = np.arange(self.length + 1)[:, None]
        symbol_U, end_U = (lengths > place_U1).mean(1) / self.symbols, (lengths == place_U1).mean(1)
        return float((symbol_U.cumsum() - symbol_U + end_U).max() / (lengths.mean() + 1))
