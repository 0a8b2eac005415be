"""Free-running decoding: each token is chosen by the model's own past, and the target is never seen.

Shape legend: B batch, K beam width, N rows that run side by side (B, or B * K), V vocabulary, U tokens written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.models.stack import StackState

Step = Callable[[Tensor, StackState], tuple[Tensor, StackState]]
"""(last tokens (N,), state) -> (log-probabilities (N, V) of the next token, state)."""

NOTHING = -1  # stands after a sequence's end; equals no class
IMPOSSIBLE = float("-inf")


def select(states: StackState, index_N: Tensor) -> StackState:
    """Return rows of a state in another order, or more than once."""
    return [tuple(s[index_N] for s in state) for state in states]


def greedy(
    step: Step,
    tokens_B: Tensor,
    states: StackState,
    end: int,
    limit: int,
    fewer: Callable[[Tensor], Step] | None = None,
) -> tuple[Tensor, Tensor]:
    """Take the likeliest token, again and again, until `end` or `limit` tokens.

    tokens_B holds the start symbols. Returns (tokens (B, U), with the end and NOTHING after it; log-probability of
    what was written (B,)). `fewer` gives the step of some rows of B alone: where it is given, rows that have ended are
    dropped whenever they are half of those that run.
    """
    written: list[Tensor] = []
    total_B = torch.zeros(len(tokens_B), dtype=torch.float64, device=tokens_B.device)
    rows_N, tokens_N = torch.arange(len(tokens_B), device=tokens_B.device), tokens_B
    ended_N = torch.zeros_like(tokens_B, dtype=torch.bool)
    while len(written) < limit and not bool(ended_N.all()):
        log_p_NV, states = step(tokens_N, states)
        best_N, tokens_N = log_p_NV.max(1)
        total_B[rows_N] += best_N.masked_fill(ended_N, 0)
        written.append(torch.full_like(tokens_B, NOTHING))
        written[-1][rows_N] = tokens_N.masked_fill(ended_N, NOTHING)
        ended_N = ended_N | (tokens_N == end)
        going_N = (~ended_N).nonzero()[:, 0]
        if fewer is not None and 0 < 2 * len(going_N) <= len(ended_N):
            rows_N, tokens_N, ended_N = rows_N[going_N], tokens_N[going_N], ended_N[going_N]
            step, states = fewer(rows_N), select(states, going_N)
    return torch.stack(written, 1), total_B


def beam(step: Step, tokens_B: Tensor, states: StackState, end: int, limit: int, width: int) -> tuple[Tensor, Tensor]:
    """Keep the `width` best of all continuations after each token; return the best at the end, as `greedy` does.

    A sequence y is worth log p(y) / |y|, where |y| counts its tokens, the end included. It is finished by `end`, or
    cut at `limit` tokens and then worth what it is. At each step every unfinished sequence is continued by each of
    the V tokens, a finished one stands as it is, and the `width` that are worth most stay. It is over when all that
    stay are finished. Width 1 is `greedy`; a width that keeps everything finds the best of all sequences.
    """
    rows_N = torch.arange(len(tokens_B), device=tokens_B.device).repeat_interleave(width)
    states, tokens_N, kept = select(states, rows_N), tokens_B[rows_N], _Beam.start(tokens_B, width)
    while kept.written_BKU.shape[2] < limit and not bool(kept.ended_BK.all()):
        log_p_NV, states = step(tokens_N, states)
        kept, from_BK = kept.extended(log_p_NV.view(len(tokens_B), width, -1).double(), end)
        states = select(states, (rows_N.view_as(from_BK) * width + from_BK).flatten())
        tokens_N = kept.written_BKU[:, :, -1].flatten().clamp(min=0)  # NOTHING is no token; what follows it is dropped
    return kept.written_BKU[:, 0], kept.total_BK[:, 0]  # the best comes first


@dataclass(frozen=True)
class _Beam:
    """The sequences that stay: log-probability, number of tokens, whether finished, and the tokens."""

    total_BK: Tensor
    length_BK: Tensor
    ended_BK: Tensor
    written_BKU: Tensor

    @classmethod
    def start(cls, tokens_B: Tensor, width: int) -> _Beam:
        """Nothing written. All start alike, so one of them is possible and the others are not."""
        total_BK = torch.full((len(tokens_B), width), IMPOSSIBLE, dtype=torch.float64, device=tokens_B.device)
        total_BK[:, 0] = 0
        return cls(
            total_BK,
            torch.zeros_like(total_BK),
            torch.zeros_like(total_BK, dtype=torch.bool),
            tokens_B.new_zeros(*total_BK.shape, 0),
        )

    def extended(self, log_p_BKV: Tensor, end: int) -> tuple[_Beam, Tensor]:
        """Return what stays after one more token, the best first, and which sequence each continues (B, K)."""
        classes, width = log_p_BKV.shape[2], log_p_BKV.shape[1]
        stands_V = torch.full_like(log_p_BKV[0, 0], IMPOSSIBLE)
        stands_V[end] = 0  # a finished sequence goes on in one way, which costs nothing
        total_BKV = self.total_BK[:, :, None] + torch.where(self.ended_BK[:, :, None], stands_V, log_p_BKV)
        length_BK = self.length_BK + ~self.ended_BK
        best_BK = (total_BKV / length_BK[:, :, None]).flatten(1).topk(width).indices
        from_BK, token_BK = best_BK // classes, best_BK % classes
        ended_BK = self.ended_BK.gather(1, from_BK)
        before_BKU = self.written_BKU.gather(1, from_BK[:, :, None].expand(-1, -1, self.written_BKU.shape[2]))
        kept = _Beam(
            total_BKV.flatten(1).gather(1, best_BK),
            length_BK.gather(1, from_BK),
            ended_BK | (token_BK == end),
            torch.cat([before_BKU, token_BK.masked_fill(ended_BK, NOTHING)[:, :, None]], 2),
        )
        return kept, from_BK
