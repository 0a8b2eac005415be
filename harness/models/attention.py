"""Attention: each answer looks back at every step of the source.

Shape legend: see harness/cells/base.py. S source steps, U target steps, W width of the source's outputs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

OUT_OF_SIGHT = float("-inf")


class Memory(NamedTuple):
    """What is looked back at, ready for every step of the answer: W_a m (B, S, H), m with its padding zeroed (B, S, W),
    where padding is (B, 1, S). Where symbols are copied (pointer.py): those of the source (B, S), and of how many
    symbols a copy is that would go on there (B, U, S)."""

    keys_BSH: Tensor
    values_BSW: Tensor
    padding_B1S: Tensor
    symbols_BS: Tensor | None = None
    runs_BUS: Tensor | None = None

    def rows(self, index_N: Tensor) -> Memory:
        """Return rows in another order, or more than once."""
        return Memory(**{name: part[index_N] for name, part in self._asdict().items() if part is not None})


class DotAttention(nn.Module):
    """Luong, Pham, Manning, arXiv:1508.04025: global attention, score "general", no input feeding.

    a = softmax over s of h W_a m_s, c = sum of a_s m_s, h~ = tanh(W_c [c; h]) (equations 5 to 8). Padding of the source
    has weight exactly 0. Since h~ is not fed back, all steps of teacher forcing are one product.
    """

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, hidden, bias=False)
        self.combine = nn.Linear(width + hidden, hidden, bias=False)

    def start(self, generator: torch.Generator) -> None:
        """Draw start weights: uniform in +-1/sqrt(inputs), as torch's own linear layers."""
        for layer in (self.score, self.combine):
            bound = layer.in_features**-0.5
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)

    def look(self, source_BSW: Tensor, lengths_B: Tensor) -> Memory:
        """Return what a source's outputs offer; computed once, however many steps look at it."""
        padding_BS = torch.arange(source_BSW.shape[1], device=source_BSW.device) >= lengths_B[:, None]
        # padding is zeroed as well: 0 times an overflow there would be NaN
        values_BSW = source_BSW.masked_fill(padding_BS[:, :, None], 0)
        return Memory(self.score(values_BSW), values_BSW, padding_BS[:, None])

    def scores(self, h_BUH: Tensor, memory: Memory) -> Tensor:
        """Return h W_a m (B, U, S), minus infinity at padding."""
        return (h_BUH @ memory.keys_BSH.mT).masked_fill(memory.padding_B1S, OUT_OF_SIGHT)

    def weights(self, h_BUH: Tensor, memory: Memory) -> Tensor:
        """Return a (B, U, S), which sums to 1 over the real steps of each source."""
        return self.scores(h_BUH, memory).softmax(2)

    def forward(self, h_BUH: Tensor, memory: Memory) -> Tensor:
        """Return h~ (B, U, H)."""
        context_BUW = self.weights(h_BUH, memory) @ memory.values_BSW
        return self.combine(torch.cat([context_BUW, h_BUH], 2)).tanh()
