"""Temporal order: name the order of two symbols that lie far apart among others."""

from typing import ClassVar

from pydantic import Field

from harness.tasks.base import SPLITS, Examples, Shape, Task

X, Y, BEGIN, END = 4, 5, 6, 7  # 0 to 3 are the symbols that do not matter


class TemporalOrder(Task):
    """Temporal order: XX, XY, YX or YY? Two symbols, far apart among others, decide one of four classes (floor 1/4).

    Hochreiter and Schmidhuber, Neural Computation 9 (1997), experiment 6a: a sequence starts with E, ends with B, and
    otherwise holds a, b, c, d at random, except for an X or a Y at t1 in [T/10, T/5) and at t2 in [T/2, 3T/5). Here
    T is one number, not drawn from 100 to 110, and classes are balanced, so that guessing scores 1/4.
    """

    length: int = Field(100, ge=10, le=100_000)
    train_examples: int = Field(10_000, ge=1)
    test_examples: int = Field(1_000, ge=1)

    mapping: ClassVar = "many-to-one"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "accuracy"

    @property
    def shape(self):
        return Shape(steps=self.length, vocabulary=8, outputs=4)

    def load(self, split, seed):
        import numpy as np

        n, t = (self.train_examples if split == "train" else self.test_examples), self.length
        rng = np.random.default_rng([SPLITS.index(split), seed if split == "train" else 0, t])
        inputs = rng.integers(0, 4, (n, t))
        inputs[:, 0], inputs[:, -1] = BEGIN, END
        classes = rng.permutation(np.arange(n) % 4)
        first, second = rng.integers(t // 10, t // 5, n), rng.integers(t // 2, 3 * t // 5, n)
        inputs[np.arange(n), first] = X + classes // 2
        inputs[np.arange(n), second] = X + classes % 2
        return Examples(inputs, classes, np.full(n, t))

    def floor(self):
        return 1 / 4
