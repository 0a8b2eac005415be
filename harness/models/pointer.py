"""Pointer: a decoder writes a symbol of its own or points at one of the source.

Shape legend: see harness/cells/base.py. S source steps, U target steps, O classes, N rows decoded side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.cells.base import State
from harness.cost import LONGEST_RUN
from harness.models.attention import Memory


class Pointer(nn.Module):
    """Pointer-generator (See, Liu, Manning, ACL 2017, arXiv:1704.04368) over symbols that source and answer share.

    p(y) = g softmax(z)_y + (1 - g) sum of c_s over all s with x_s = y,  g = sigmoid(w h~ + b)

    z are the scores of the head and h~ is what attention makes of state and context. c = softmax over s of
    (h W_a m_s + r_n(s)): attention's own scores, and what it is worth to go on with a copy: n(s) of the symbols before
    x_s, up to LONGEST_RUN, are the last ones written, and r_0 = 0. So a copy goes on where it was, as by CopyNet's
    selective read (Gu et al., ACL 2016, arXiv:1603.06393), but as one number for each length of a run, which a few
    examples teach. The source begins after the start symbol. Where g is 1 it is the decoder without a pointer.
    """

    def __init__(self, hidden: int, start_symbol: int) -> None:
        super().__init__()
        self.gate, self.start_symbol = nn.Linear(hidden, 1), start_symbol
        self.runs = nn.Parameter(torch.full((LONGEST_RUN,), torch.nan))

    def start(self, generator: torch.Generator) -> None:
        """Draw start weights of the gate as of torch's own linear layers; r_n = n, so that copying need not be
        discovered."""
        bound = self.gate.in_features**-0.5
        for weight in self.gate.parameters():
            nn.init.uniform_(weight, -bound, bound, generator=generator)
        with torch.no_grad():
            self.runs.copy_(torch.arange(1.0, LONGEST_RUN + 1))

    def follow(self, runs_NS: Tensor, tokens_N: Tensor, symbols_NS: Tensor) -> Tensor:
        """Return n (N, S) after one more symbol was written."""
        before_NS = F.pad(symbols_NS[:, :-1], (1, 0), value=self.start_symbol)
        longer_NS = F.pad(runs_NS[:, :-1], (1, 0)) + 1
        return longer_NS.clamp(max=LONGEST_RUN) * (before_NS == tokens_N[:, None])

    def given(self, memory: Memory, symbols_BS: Tensor, before_BU: Tensor) -> Memory:
        """Return a memory of these symbols for steps before each of which the right symbol was written."""
        runs_BS, found = torch.zeros_like(symbols_BS), []
        for tokens_B in before_BU.unbind(1):
            runs_BS = self.follow(runs_BS, tokens_B, symbols_BS)
            found.append(runs_BS)
        return memory._replace(symbols_BS=symbols_BS, runs_BUS=torch.stack(found, 1))

    def written(self, memory: Memory, runs: State, tokens_N: Tensor) -> tuple[Memory, State]:
        """Return a memory for one more step of each of the N rows, N / B of them side by side, and the runs that they
        carry as they carry the decoder's state."""
        assert memory.symbols_BS is not None
        rows = len(memory.symbols_BS)
        runs_NS = self.follow(runs[0], tokens_N, memory.symbols_BS.repeat_interleave(len(tokens_N) // rows, 0))
        return memory._replace(runs_BUS=runs_NS.unflatten(0, (rows, -1))), (runs_NS,)

    def forward(self, scores_BUO: Tensor, mixed_BUH: Tensor, looks_BUS: Tensor, memory: Memory) -> Tensor:
        """Return log p (B, U, O), in the dtype of the weights, from z, h~ and h W_a m."""
        assert memory.symbols_BS is not None and memory.runs_BUS is not None
        dtype, symbols_BS = self.runs.dtype, memory.symbols_BS
        gate_BU1 = self.gate(mixed_BUH).to(dtype)
        worth_BUS = F.pad(self.runs, (1, 0))[memory.runs_BUS]
        copied_BUS = (looks_BUS.to(dtype) + worth_BUS).softmax(2)
        own_BUO = scores_BUO.to(dtype).log_softmax(2) + F.logsigmoid(gate_BU1)
        index_BUS = symbols_BS[:, None].expand_as(copied_BUS)
        copied_BUO = torch.zeros_like(own_BUO).scatter_add(2, index_BUS, copied_BUS)
        there_BUO = copied_BUO > 0  # log 0 has no gradient
        log_BUO = copied_BUO.where(there_BUO, 1).log() + F.logsigmoid(-gate_BU1)
        return torch.logaddexp(own_BUO, log_BUO).where(there_BUO, own_BUO)
