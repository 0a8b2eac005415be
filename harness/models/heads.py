"""Losses that look at all answers of a sequence together, and the answer that goes with each.

Plain losses add up over steps, so that windows can be trained one by one; these do not. Shapes: S score of each class
at each step (B, T, O), lengths (B,).
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IGNORE = -100


class SequenceHead(nn.Module):
    """What stands behind the linear head for an objective of whole sequences."""

    @abstractmethod
    def loss(self, scores_BTO: Tensor, targets: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return (sum of the losses in nats, how much is due)."""

    @abstractmethod
    def decode(self, scores_BTO: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the answer as classes, -100 beyond a sequence's end."""

    @abstractmethod
    def last(self, scores_BO: Tensor, targets: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the loss (a sum) of the last answer alone, given its scores at its step: what the gradient by lag of
        time is measured from, since the whole loss is due at every step."""


class CTC(SequenceHead):
    """Connectionist temporal classification (Graves et al., ICML 2006): class 0 is the blank.

    The answer is the best path, repeats and blanks removed.
    """

    def loss(self, scores_BTO: Tensor, targets: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Sum over sequences; due are the symbols."""
        due_B = (targets != IGNORE).sum(1)
        logs_TBO = scores_BTO.log_softmax(2).transpose(0, 1)
        found = F.ctc_loss(logs_TBO, targets.clamp(min=0), lengths_B, due_B, blank=0, reduction="sum")
        return found, due_B.sum()

    def decode(self, scores_BTO: Tensor, lengths_B: Tensor) -> Tensor:
        """Return symbols (B, U), padded with -100."""
        best_BT = scores_BTO.argmax(2)
        step = torch.arange(best_BT.shape[1], device=best_BT.device)
        new_BT = F.pad(best_BT[:, 1:] != best_BT[:, :-1], (1, 0), value=True)
        kept_BT = new_BT & (best_BT != 0) & (step < lengths_B[:, None])
        order_BT = (~kept_BT).to(torch.int8).sort(dim=1, stable=True).indices
        symbols_BT = best_BT.masked_fill(~kept_BT, IGNORE).gather(1, order_BT)
        return symbols_BT[:, : max(1, int(kept_BT.sum(1).max()))]

    def last(self, scores_BO: Tensor, targets: Tensor, lengths_B: Tensor) -> Tensor:
        """-log p(last symbol) at the last step."""
        symbol_B1 = (targets != IGNORE).sum(1, keepdim=True) - 1
        return F.cross_entropy(scores_BO, targets.gather(1, symbol_B1)[:, 0], reduction="sum")


class CRF(SequenceHead):
    """Linear-chain conditional random field (Lafferty, McCallum, Pereira, ICML 2001; Lample et al., arXiv:1603.01360).

    log p(y) = sum over t of [S(y_t) + A(y_(t-1), y_t)] + start(y_1) + stop(y_T) - log of the sum over all paths.
    The answer is the best path (Viterbi).
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(classes, classes))  # from row to column
        self.start, self.stop = nn.Parameter(torch.zeros(classes)), nn.Parameter(torch.zeros(classes))

    def loss(self, scores_BTO: Tensor, targets: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of -log p(path) over sequences; due are the steps. Every real step must have a target."""
        real_BT = torch.arange(scores_BTO.shape[1], device=scores_BTO.device) < lengths_B[:, None]
        y_BT, row = targets.clamp(min=0), torch.arange(len(targets), device=targets.device)
        emitted_B = (scores_BTO.gather(2, y_BT[:, :, None])[:, :, 0] * real_BT).sum(1)
        moved_B = (self.transitions[y_BT[:, :-1], y_BT[:, 1:]] * real_BT[:, 1:]).sum(1)
        path_B = emitted_B + moved_B + self.start[y_BT[:, 0]] + self.stop[y_BT[row, lengths_B - 1]]
        return (self._all_paths(scores_BTO, real_BT) - path_B).sum(), real_BT.sum()

    def _all_paths(self, scores_BTO: Tensor, real_BT: Tensor) -> Tensor:
        total_BO = self.start + scores_BTO[:, 0]
        for t in range(1, scores_BTO.shape[1]):
            next_BO = torch.logsumexp(total_BO[:, :, None] + self.transitions, 1) + scores_BTO[:, t]
            total_BO = torch.where(real_BT[:, t, None], next_BO, total_BO)
        return torch.logsumexp(total_BO + self.stop, 1)

    def decode(self, scores_BTO: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the best path (B, T)."""
        steps, classes = scores_BTO.shape[1:]
        real_BT = torch.arange(steps, device=scores_BTO.device) < lengths_B[:, None]
        best_BO, back = self.start + scores_BTO[:, 0], []
        stay_O = torch.arange(classes, device=scores_BTO.device)
        for t in range(1, steps):
            value_BO, from_BO = (best_BO[:, :, None] + self.transitions).max(1)
            going = real_BT[:, t, None]
            best_BO = torch.where(going, value_BO + scores_BTO[:, t], best_BO)
            back.append(torch.where(going, from_BO, stay_O))
        path = [(best_BO + self.stop).argmax(1)]
        for from_BO in reversed(back):
            path.append(from_BO.gather(1, path[-1][:, None])[:, 0])
        return torch.stack(path[::-1], 1).masked_fill(~real_BT, IGNORE)

    def last(self, scores_BO: Tensor, targets: Tensor, lengths_B: Tensor) -> Tensor:
        """-log p(last class) by its own scores."""
        return F.cross_entropy(scores_BO, targets.gather(1, lengths_B[:, None] - 1)[:, 0], reduction="sum")


def sequence_head(objective: str, classes: int) -> SequenceHead | None:
    """Return what an objective of whole sequences needs; None for one that adds up over steps."""
    if objective == "ctc":
        return CTC()
    return CRF(classes) if objective == "crf" else None
