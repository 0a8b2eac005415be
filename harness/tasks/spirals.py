"""Two spirals: a hard question about a single step."""

from typing import ClassVar

from pydantic import Field

from harness.tasks.base import SPLITS, Examples, Shape, Task


class Spirals(Task):
    """Two interleaved spirals: tell which of them a point in the plane lies on (one-to-one, floor 1/2).

    Lang and Witbrock, "Learning to tell two spirals apart" (1988); there 97 points on each spiral of three turns.
    There is one step and nothing to remember: the home ground of a feed-forward cell. Here a point lies at a radius
    r = sqrt(U(0, 1)) and the angle 2 pi turns r of its spiral, in units of 1/2 (which gives unit variance), and off it
    by a normal deviation of `noise`. A straight line gets 0.74 at one turn.
    """

    turns: float = Field(1.0, gt=0, le=10)
    noise: float = Field(0.02, ge=0, le=1)
    train_examples: int = Field(4_000, ge=1)
    valid_examples: int = Field(500, ge=1)
    test_examples: int = Field(2_000, ge=1)

    mapping: ClassVar = "one-to-one"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "accuracy"

    @property
    def shape(self):
        return Shape(steps=1, features=2, outputs=2)

    def load(self, split, seed):
        import numpy as np

        n = getattr(self, f"{split}_examples")
        rng = np.random.default_rng([SPLITS.index(split), seed if split == "train" else 0])
        side, radius = rng.integers(0, 2, n), np.sqrt(rng.random(n))
        angle = 2 * np.pi * self.turns * radius + np.pi * side
        inputs = 2 * np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1) + self.noise * rng.normal(
            size=(n, 2)
        )
        return Examples(inputs.astype(np.float32)[:, None], side, np.ones(n, np.int64))

    def floor(self):
        return 1 / 2
