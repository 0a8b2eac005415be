"""Counting down from one input: the answer is long, the input a single step."""

from typing import ClassVar

from pydantic import Field

from harness.tasks.base import END, SPLITS, Examples, Shape, Task


class Countdown(Task):
    """Countdown: from a number n and a stride s write n - s, n - 2 s, ... while positive, then stop (one-to-many).

    Counting from one cue, as in Gers and Schmidhuber, IEEE Trans. Neural Networks 12 (2001), made to need memory: the
    number written last does not tell the stride, which is seen once and must be carried. n from U{1..largest}, s from
    U{1..strides}; each input is a pair of one-hot codes. All pairs occur in training: it asks to carry, not to
    generalise.
    """

    largest: int = Field(20, ge=1, le=10_000)
    strides: int = Field(3, ge=1, le=1_000)
    train_examples: int = Field(5_000, ge=1)
    valid_examples: int = Field(500, ge=1)
    test_examples: int = Field(2_000, ge=1)

    mapping: ClassVar = "one-to-many"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "sequence_accuracy"

    @property
    def shape(self):
        return Shape(
            steps=1, features=self.largest + self.strides, outputs=max(self.largest, 2), target_steps=self.largest
        )

    def load(self, split, seed):
        import numpy as np

        n = getattr(self, f"{split}_examples")
        rng = np.random.default_rng([SPLITS.index(split), seed if split == "train" else 0, self.largest])
        number, stride = rng.integers(1, self.largest + 1, n), rng.integers(1, self.strides + 1, n)
        codes = [np.eye(self.largest)[number - 1], np.eye(self.strides)[stride - 1]]
        inputs = np.concatenate(codes, 1, dtype=np.float32)[:, None]
        return Examples(inputs, self.answers(number, stride), np.ones(n, np.int64))

    def answers(self, number, stride):
        """Targets (N, largest) of numbers and strides (N,)."""
        import numpy as np

        left = number[:, None] - stride[:, None] * np.arange(1, self.largest + 1)
        return np.where(left > 0, left, np.where(left > -stride[:, None], END, -100))

    def floor(self):
        """The commonest answer's share of all pairs: END alone, where no number is left."""
        import numpy as np

        answers = self.answers(*np.indices((self.largest, self.strides)).reshape(2, -1) + 1)
        return float(np.unique(answers, axis=0, return_counts=True)[1].max() / len(answers))
