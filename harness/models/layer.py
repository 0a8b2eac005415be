"""One cell unrolled over time, in one direction: the place where torch's fused kernel, a scan or a loop runs.

Shape legend: see harness/cells/base.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.cells.base import Cell, Kernel, LinearCell, State
from harness.models.scan import scan


@dataclass(frozen=True)
class Mark:
    """The state after `step` steps, held by the graph: what the gradient through time is read from.

    `output_BPH` is the output of the piece that ends there. Its last step is h: the next piece starts from that
    view, so the gradient that arrives at it is the exact total dL/dh, from the future and from the layers above.
    `others` are the remaining state tensors (c of an LSTM), which only the next piece uses.
    """

    step: int
    output_BPH: Tensor
    others: State


def shapes(cell: Cell, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights of one layer and direction, the input projection first (torch's own names)."""
    wide = cell.gates * hidden
    return {"weight_ih": (wide, inputs), "bias_ih": (wide,), **cell.weights(hidden)}


def fused(name: str, x_BTD: Tensor, state: State, four: Sequence[Tensor], keep: bool) -> tuple[Tensor, State]:
    """Call torch's fused function `name` with its `four` weights; return output (B, T, H) and the states beside h.
    `keep` what going back needs."""
    start = tuple(s[None].contiguous() for s in state)
    # bias, one layer, no dropout, training, one direction, batch first
    how = (True, 1, 0.0, keep, False, True)
    out_BTH, *ends = getattr(torch, name)(x_BTD, start if len(start) > 1 else start[0], list(four), *how)
    return out_BTH, tuple(end[0] for end in ends[1:])


class Layer(nn.Module):
    """A cell with weights, unrolled over the steps it is given."""

    weight_ih: nn.Parameter
    bias_ih: nn.Parameter

    def __init__(self, cell: Cell, inputs: int, hidden: int, fused: bool) -> None:
        """`fused` takes the quickest kernel that the cell declares; otherwise a loop over `cell.step`."""
        super().__init__()
        self.cell, self.hidden = cell, hidden
        self.kernel: Kernel = cell.kernels[0] if fused else "loop"
        for name, shape in shapes(cell, inputs, hidden).items():
            # NaN until drawn: a forgotten start() shows at once, where memory's leftovers would now and then look right
            self.register_parameter(name, nn.Parameter(torch.full(shape, torch.nan)))

    def start(self, generator: torch.Generator) -> None:
        """Draw start weights: torch's uniform in +-1/sqrt(H) unless the cell says otherwise."""
        bound = 1 / math.sqrt(self.hidden)
        for name, weight in self.named_parameters(recurse=False):
            how = self.cell.start(name, self.hidden)
            with torch.no_grad():
                weight.uniform_(-bound, bound, generator=generator)
                if how == "identity":
                    nn.init.eye_(weight)
                elif how is not None:
                    blocks = how if isinstance(how, tuple) else (how,)
                    for block, value in zip(weight.chunk(len(blocks)), blocks, strict=True):
                        if value is not None:
                            block.fill_(value)

    def zero_state(self, batch: int) -> State:
        """Return the state before the first step: zeros, one (B, H) per state of the cell."""
        return tuple(self.weight_ih.new_zeros(batch, self.hidden) for _ in self.cell.states)

    def forward(
        self, x_BTD: Tensor, state: State, pieces: Sequence[int], padding_BT1: Tensor | None = None
    ) -> tuple[Tensor, State, list[Mark]]:
        """Unroll over T steps in pieces whose lengths sum to T.

        Cutting changes nothing, neither output nor gradient. Returns output (B, T, H), the state after the last step,
        and a mark at the end of each piece. `padding_BT1` (`stack.padding`) marks the steps at which a rectified cell
        is turned off: one input more, whose weight no pre-activation outweighs.
        """
        weight_ih: Tensor = self.weight_ih
        if padding_BT1 is not None:
            kind = x_BTD.device.type
            dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight_ih.dtype
            off_G1 = weight_ih.new_full((len(weight_ih), 1), -torch.finfo(dtype).max / 2)
            x_BTD, weight_ih = torch.cat([x_BTD, padding_BT1], 2), torch.cat([weight_ih, off_G1], 1)
        if not self.cell.states:
            out_BTH, _ = self.cell.step(self._weights(), F.linear(x_BTD, self.weight_ih, self.bias_ih), ())
            return out_BTH, (), []
        unroll = {"fused": self._fused, "scan": self._scan, "loop": self._loop}[self.kernel]
        outputs, marks, step = [], [], 0
        for part_BPD in x_BTD.split(list(pieces), 1) if len(pieces) > 1 else [x_BTD]:
            out_BPH, others = unroll(part_BPD, state, weight_ih)
            state = (out_BPH[:, -1], *others)
            step += part_BPD.shape[1]
            outputs.append(out_BPH)
            marks.append(Mark(step, out_BPH, others))
        return (outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1)), state, marks

    def _weights(self) -> SimpleNamespace:
        return SimpleNamespace(**dict(self.named_parameters(recurse=False)))

    def _loop(self, x_BTD: Tensor, state: State, weight_ih: Tensor) -> tuple[Tensor, State]:
        weights, outputs = self._weights(), []
        wx_BTG = F.linear(x_BTD, weight_ih, self.bias_ih)
        for wx_BG in wx_BTG.unbind(1):
            h_BH, state = self.cell.step(weights, wx_BG, state)
            outputs.append(h_BH)
        # h was computed from the other states of its step: a view stands between, so that the gradient at a mark is
        # the one with h held fixed, as a fused kernel gives it
        return torch.stack(outputs, 1), tuple(s.view_as(s) for s in state[1:])

    def _scan(self, x_BTD: Tensor, state: State, weight_ih: Tensor) -> tuple[Tensor, State]:
        wx_BTG = F.linear(x_BTD, weight_ih, self.bias_ih)
        return scan(*cast(LinearCell, self.cell).linear(self._weights(), wx_BTG), state[0]), ()

    def _fused(self, x_BTD: Tensor, state: State, weight_ih: Tensor) -> tuple[Tensor, State]:
        keep = self.training or torch.is_grad_enabled()  # cuDNN keeps what backward needs in training mode only
        four: list[Any] = [weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        return fused(str(self.cell.fused), x_BTD, state, four, keep)
