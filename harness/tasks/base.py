"""The contract of a task: what goes in, what is due, how it is scored and what a guess scores.

A task is a declaration with numpy data. Its file imports no torch: loss and metric are named from the vocabularies
of `harness/models/objectives.py` and `harness/record.py`, so that `harness show` counts parameters in an instant.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from harness.registry import Plugin

if TYPE_CHECKING:
    import numpy as np

Mapping = Literal["one-to-one", "one-to-many", "many-to-one", "many-to-many", "encoder-decoder"]
Objective = Literal["cross-entropy", "mse"]
Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
END = 0
"""The class that closes each target of one-to-many and encoder-decoder."""


@dataclass(frozen=True)
class Shape:
    """Sizes that decide a model: the longest input, its width or vocabulary, and the width of the answer."""

    steps: int
    outputs: int
    features: int = 0  # D of inputs (N, T, D); 0 where the input is tokens
    vocabulary: int = 0  # V of token inputs (N, T); 0 where the input is features
    target_steps: int = 0  # the longest target, its END included, where it has steps of its own; 0 otherwise


@dataclass(frozen=True)
class Examples:
    """One split as numpy arrays, batch first.

    inputs:  (N, T, D) float32, or (N, T) integer tokens.
    targets: many-to-one (N,) integer classes or (N, O) float32 values; many-to-many (N, T) or (N, T, O).
             A class of -100 is not due and counts neither in the loss nor in the score.
             one-to-many, encoder-decoder (N, U) integer classes: each row closed by END, then -100.
    lengths: (N,) real steps of each example, at most T; what lies beyond is padding.
    """

    inputs: np.ndarray
    targets: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs)

    def sha256(self) -> str:
        """Hash of the content: the data a number is bound to."""
        digest = hashlib.sha256()
        for array in (self.inputs, self.targets, self.lengths):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


class Task(Plugin):
    """What is to be learned. A subclass fills the members below; its annotated fields are its settings."""

    mapping: ClassVar[Mapping]
    objective: ClassVar[Objective]
    """Training loss, by name."""
    metric: ClassVar[str]
    """Score on held-out data, by name in harness.metrics.METRICS, which also says which direction is better."""
    stream: ClassVar[bool] = False
    """True where examples follow each other in time, so that the state is carried and every window is an update."""
    autoregressive: ClassVar[bool] = False
    """True where the answer at a step is a later input, so that a backward direction would see it."""

    @property
    def written(self) -> bool:
        """True where the answer has steps of its own, which a decoder writes one by one."""
        return self.mapping in ("one-to-many", "encoder-decoder")

    def useful_steps(self, examples: Examples) -> np.ndarray:
        """Steps of each example (N,) that are no padding: those that are read and those that are written."""
        return examples.lengths + ((examples.targets != -100).sum(1) if self.written else 0)

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Sizes of input and answer, known without loading anything."""

    @abstractmethod
    def load(self, split: Split, seed: int) -> Examples:
        """Return one split. Only the synthetic training split may depend on `seed`; validation and test never do."""

    @abstractmethod
    def floor(self) -> float:
        """What the best guess that ignores the input scores on the test split, by formula or by count."""
