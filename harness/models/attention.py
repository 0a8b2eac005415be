"""Attention: each answer looks back at every step of the source.

Shape legend: see harness/cells/base.py. S source steps, U target steps, W width of the source's outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

OUT_OF_SIGHT = float("-inf")


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

    def weights(self, h_BUH: Tensor, memory_BSW: Tensor, lengths_B: Tensor) -> Tensor:
        """Return a (B, U, S), which sums to 1 over the real steps of each source."""
        scores_BUS = h_BUH @ self.score(memory_BSW).mT
        return scores_BUS.masked_fill(~real(memory_BSW, lengths_B)[:, None], OUT_OF_SIGHT).softmax(2)

    def forward(self, h_BUH: Tensor, memory_BSW: Tensor, lengths_B: Tensor) -> Tensor:
        """Return h~ (B, U, H)."""
        # padding is zeroed as well: 0 times an overflow there would be NaN
        memory_BSW = memory_BSW.masked_fill(~real(memory_BSW, lengths_B)[:, :, None], 0)
        context_BUW = self.weights(h_BUH, memory_BSW, lengths_B) @ memory_BSW
        return self.combine(torch.cat([context_BUW, h_BUH], 2)).tanh()


def real(memory_BSW: Tensor, lengths_B: Tensor) -> Tensor:
    """Return (B, S), True where a step is no padding."""
    return torch.arange(memory_BSW.shape[1], device=memory_BSW.device) < lengths_B[:, None]
