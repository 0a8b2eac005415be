"""The adding problem: synthetic, with a known answer and a length that can be turned up."""

from typing import ClassVar

from pydantic import Field

from harness.tasks.base import SPLITS, Examples, Shape, Task


class Adding(Task):
    """Adding problem: sum the two marked numbers of a long sequence (long memory, floor 1/6).

    Hochreiter and Schmidhuber (1997), in the form of Le et al., arXiv:1504.00941: at each step a number from
    U(0, 1) and a mark; one mark lies in each half. Answering 1 always has the variance of a sum of two, 1/6.
    """

    length: int = Field(50, ge=2, le=100_000)
    train_examples: int = Field(10_000, ge=1)
    valid_examples: int = Field(1_000, ge=1)
    test_examples: int = Field(10_000, ge=1)

    mapping: ClassVar = "many-to-one"
    objective: ClassVar = "mse"
    metric: ClassVar = "mse"

    @property
    def shape(self):
        return Shape(steps=self.length, features=2, outputs=1)

    def load(self, split, seed):
        import numpy as np

        n, t = getattr(self, f"{split}_examples"), self.length
        rng = np.random.default_rng([SPLITS.index(split), seed if split == "train" else 0, t])
        inputs = np.zeros((n, t, 2), np.float32)
        inputs[:, :, 0] = rng.random((n, t), np.float32)
        first, second = rng.integers(0, t // 2, n), rng.integers(t // 2, t, n)
        inputs[np.arange(n), first, 1] = inputs[np.arange(n), second, 1] = 1
        targets = (inputs[:, :, 0] * inputs[:, :, 1]).sum(1, keepdims=True)
        return Examples(inputs, targets, np.full(n, t))

    def floor(self):
        return 1 / 6
