"""The contract of a cell: which weights it has and what one time step does.

A cell is a declaration. It owns no tensors and its file imports no torch: `weights` gives shapes, so that
parameters are counted without building anything, and `step` is a pure function of the weights it is handed, so
that the same five lines run in a plain loop, under `torch.func` (Jacobians), and with stacked weights for many
trials at once.

Shape legend, the same in every file:
    B batch   T time steps   D features of the input   H hidden size   G = gates * H   O outputs   V vocabulary
    K stacked trials. Every tensor is batch first; a name ends in its shape: x_BTD, wx_BG, h_BH.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from harness.registry import Plugin

if TYPE_CHECKING:
    from types import SimpleNamespace

    from torch import Tensor

State = tuple["Tensor", ...]
Fused = Literal["lstm", "gru", "rnn_tanh", "rnn_relu"]
Kernel = Literal["fused", "scan", "loop"]


class Cell(Plugin):
    """One step of a recurrent (or, with no states, a feed-forward) layer.

    A subclass sets `gates` and `states`, and writes `step`; it may add weights, another start, or name the torch
    kernel that computes the same mathematics.
    """

    gates: ClassVar[int]
    """Blocks of size H in the input and recurrent projections: 1 Elman, 3 GRU, 4 LSTM."""
    states: ClassVar[tuple[str, ...]]
    """Names of the tensors carried from step to step, each (B, H); the first is the output h. () carries nothing."""
    paper: ClassVar[str] = ""
    starts: ClassVar[tuple[str, ...]] = ()
    """Settings that decide how weights start and nothing else: trials that differ in them can be one program."""

    @property
    def fused(self) -> Fused | None:
        """Name of torch's fused function of the same mathematics and the same four weights, if there is one."""
        return None

    @property
    def rectified(self) -> bool:
        """True where h' = relu(wx + ...): h may grow without bound, and a very negative wx sets it to 0."""
        return False

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """What can unroll this cell, the quickest first, which is what `kernel: auto` takes. A loop always can."""
        return ("fused", "loop") if self.fused else ("loop",)

    @abstractmethod
    def step(self, w: SimpleNamespace, wx_BG: Tensor, state: State) -> tuple[Tensor, State]:
        """Return (h_BH, new state) from the projected input `wx_BG = x W_ih^T + b_ih` and the state before.

        `w` holds this layer's weights by name. Use tensor methods, `.mT` and axes counted from the end, so that a
        leading K (stacked trials) passes through: `h_BH @ w.weight_hh.mT + w.bias_hh`. Vectors are then (K, 1, G).
        """

    def weights(self, hidden: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights besides the input projection (weight_ih (G, D) and bias_ih (G,), always there)."""
        if not self.states:
            return {}
        return {"weight_hh": (self.gates * hidden, hidden), "bias_hh": (self.gates * hidden,)}

    def start(self, name: str, hidden: int) -> Any:
        """How a weight starts: None for torch's own uniform in +-1/sqrt(H), a number, "identity", or a tuple with one
        of None or a number for each gate's block of H rows."""
        return None


class LinearCell(Cell):
    """A cell with h' = a h + b, element by element, where a and b are read off the input alone.

    Such steps can be composed before h is known, so all of them are computed at once (harness/models/scan.py).
    A subclass sets `gates` and writes `linear`; the one step follows from it.
    """

    states: ClassVar[tuple[str, ...]] = ("h",)

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        return ("scan", "loop")

    @abstractmethod
    def linear(self, w: SimpleNamespace, wx_BTG: Tensor) -> tuple[Tensor, Tensor]:
        """Return (a_BTH, b_BTH), a within [-1, 1], from the projected input of all steps, or (..., G) of one."""

    def weights(self, hidden: int) -> dict[str, tuple[int, ...]]:
        """None besides the input projection: there is no recurrent matrix."""
        return {}

    def step(self, w: SimpleNamespace, wx_BG: Tensor, state: State) -> tuple[Tensor, State]:
        a_BH, b_BH = self.linear(w, wx_BG)
        h_BH = a_BH * state[0] + b_BH
        return h_BH, (h_BH,)
