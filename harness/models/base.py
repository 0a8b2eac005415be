"""What every model offers the LightningModule: a backward pass by windows, answers for scoring, and its diagnosis.

Shape legend: see harness/cells/base.py.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from harness.cells.base import Kernel
from harness.data.batches import Batch
from harness.models.stack import Stack, StackState

Loss = Callable[[Tensor, Tensor], Tensor]
"""(answers, targets) -> sum over what is due."""
Differentiate = Callable[[Tensor], None]
"""Goes back from a loss."""
Told = Callable[[int], None]
"""Told at which time step something begins."""
Profile = tuple[list[int], Tensor]
"""(lags, norms (layers, lags)) of |dL/dstate|; of several trials, norms are (trials, layers, lags)."""


class Windows(NamedTuple):
    """How far gradients reach (Williams and Peng, Neural Computation 2, 1990): every `stride` (k1) steps a backward
    pass over the last `length` (k2) steps. None: the whole sequence. `watch`: measure the gradient by lag as well, and
    from a loss times `scale`, for float16 holds no small numbers; what is reported is divided by it again. `begins` is
    told where each window begins before it is unrolled. `trials`: how many the batch holds, one after the other, whose
    gradients by lag are kept apart (harness/pack/)."""

    length: int | None
    stride: int | None
    watch: bool
    scale: float = 1.0
    begins: Told | None = None
    trials: int = 1


class Backward(NamedTuple):
    """What a backward pass leaves: the mean loss, and the gradient by lag where watched."""

    loss: float
    gradient: Profile | None


class Driven(NamedTuple):
    """Recurrent layers with what drives them: inputs (B, T, D), real steps (B,), and the states they start from."""

    stack: Stack
    x_BTD: Tensor
    lengths_B: Tensor
    start: StackState


class Model(nn.Module):
    """A network for one kind of mapping."""

    remembers: bool
    """False for a cell that carries nothing from step to step."""

    def __init__(self) -> None:
        super().__init__()
        self.carried: dict[bool, StackState] = {}
        """Of streams: the state so far, in training (True) and in evaluation. Nothing else outlives a batch."""
        self.began: StackState = []
        """Of streams: the states from which the last backward pass started."""

    @property
    @abstractmethod
    def kernel(self) -> Kernel:
        """What unrolls its layers."""

    @abstractmethod
    def steps(self, batch: Batch) -> tuple[int, int]:
        """Return (useful, computed) time steps of a batch; the difference is padding."""

    @abstractmethod
    def backward(self, batch: Batch, loss_of: Loss, windows: Windows, backward: Differentiate) -> Backward:
        """Accumulate the gradient of the batch's mean loss, calling `backward` once for each window."""

    @abstractmethod
    def answer(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return (predictions, targets) for scoring, free of any gradient trick: what a user would get."""

    @abstractmethod
    def driven(self, batch: Batch) -> Driven:
        """Return the layers whose gradient by lag `backward` watches, driven as in training."""

    @abstractmethod
    def reach(self, batch: Batch) -> int:
        """Return the steps from which on a window is the whole of every sequence of the batch."""

    def forced(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return (predictions, targets) where the right answers so far are given: `answer`, but for a decoder."""
        return self.answer(batch)

    @abstractmethod
    def first_bad_state(self, batch: Batch) -> tuple[str, int | None, str] | None:
        """Repeat the forward pass; return (layer, time step, what) of the first non-finite value, None if clean."""
