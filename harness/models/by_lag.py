"""The gradient through time, by lag: |dL/dstate| so many steps before the answer whose loss it is.

Each sequence is counted back from its own answer, for in a batch they end at different steps: at a fixed time step one
sequence's gradient has gone back far, and that of another has only begun. Shape legend: see harness/cells/base.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from harness.cells.base import State
from harness.data.batches import Batch
from harness.models.base import Profile
from harness.models.layer import Mark
from harness.models.unroll import pieces

Place = tuple[int, int, Tensor]
"""A step, which part of the state, and what holds it."""


@dataclass(frozen=True)
class Look:
    """Where to look in one stretch of time: steps from its beginning to the last answer of each sequence that is due in
    it (`ends_B`; 0: none is), and how far back of there a gradient goes (`reach_B`; -1: none starts).

    Of several workers each looks at its own sequences, at lags and in proportion to what all of them have: squares of
    norms then add up over workers. `counted`: sequences that a gradient reaches at each lag, of `sequences` in all;
    `weight`: share of the answers whose mean loss is watched that are this worker's.
    """

    ends_B: Tensor
    reach_B: Tensor
    lags: list[int]
    counted: list[int]
    sequences: int
    weight: float

    @classmethod
    def back_to(cls, cuts: Sequence[int], ends_B: Tensor, batch: Batch) -> Look:
        """Look from each end, of the whole batch that `batch` is a part of, back to the last cut before it, or to the
        beginning: at about LAG_POINTS lags, evenly from 0, and at the largest there is. Something must be due."""
        begins = torch.tensor([0, *cuts], device=ends_B.device)
        reach_B = (ends_B - begins[torch.searchsorted(begins, ends_B) - 1]).where(ends_B > 0, -1)
        span = int(reach_B.max())
        lags = [*(span - step for step in pieces(0, span)), span]
        counted = [int((reach_B >= lag).sum()) for lag in lags]
        mine_B, device = ends_B[batch.own], batch.lengths.device
        weight = int((mine_B > 0).sum()) / int((ends_B > 0).sum())
        return cls(mine_B.to(device), reach_B[batch.own].to(device), lags, counted, len(ends_B), weight)

    @property
    def edges(self) -> set[int]:
        """The steps that lie one of these lags before the end of some sequence."""
        return {end - lag for end in self.ends_B.unique().tolist() for lag in self.lags if lag < end}

    def read(
        self,
        loss: Tensor,
        marks: Sequence[list[Mark]],
        begun: Sequence[dict[int, State]],
        scale: float = 1.0,
        trials: int = 1,
    ) -> Profile:
        """Return (lags, norms (layers, lags)) of |dL/dstate|, each sequence counted back from its own end.

        The state of a layer is everything it carries, (h, c) for an LSTM; its norm is over batch and units. At lag n
        the state n steps before the end counts of each sequence that a gradient reaches there. Others have no such
        state, so the square is scaled by sequences in all / sequences counted: the profile falls because gradients
        fade, not because sequences run out.

        By layer, `marks` hold the state after the steps in `edges`, and `begun` the leaves that a stretch between two
        cuts starts from, by step. `scale` is put on the loss and taken off again. Keeps the graph. A batch
        may hold several `trials`, one after the other, whose sequences end alike: each is then looked at by itself.
        """
        places = [_places(*of) for of in zip(marks, begun, strict=True)]
        if not self.weight:  # what is watched is of other workers
            return self._profile([], len(marks), scale, trials)
        of_layers = [
            torch.autograd.grad(loss.sum() * scale, [part for *_, part in of], retain_graph=True, allow_unused=True)
            for of in places
        ]
        return self._profile(list(zip(places, of_layers, strict=True)), len(marks), scale, trials)

    def listen(
        self, marks: Sequence[list[Mark]], begun: Sequence[dict[int, State]], scale: float = 1.0
    ) -> Callable[[], Profile]:
        """As `read`, of a loss that is about to be differentiated anyway: return what tells the same once that is done.

        Spares the pass back that `read` makes for itself, a third of what it takes to look.
        """
        places = [_places(*of) for of in zip(marks, begun, strict=True)]
        heard: list[list[Tensor | None]] = [[None] * len(of) for of in places]
        for own, found in zip(places, heard, strict=True):
            for number, (*_, part) in enumerate(own):
                part.register_hook(partial(found.__setitem__, number))
        return lambda: self._profile(list(zip(places, heard, strict=True)), len(marks), scale, 1)

    def _profile(
        self, found: Sequence[tuple[list[Place], Sequence[Tensor | None]]], layers: int, scale: float, trials: int
    ) -> Profile:
        """Return the profile of the gradients at the places of each layer; zeros where there are none."""
        lags = self.lags
        # in float64, for the least of float32 is a few hundred steps away
        norms = torch.zeros(trials, layers, len(lags), dtype=torch.float64)
        if not found:
            return lags, norms[0]
        alike, rows_B = (
            bool((self.reach_B == max(lags)).all()),
            torch.arange(len(self.ends_B), device=self.ends_B.device),
        )
        for layer, squares_SB in enumerate(_squares(*of, len(self.ends_B)) for of in found):
            if alike:  # all lags at once: each by itself costs 0.1 ms, and on a GPU a wait
                steps_LB = self.ends_B - torch.tensor(lags, device=rows_B.device)[:, None]
                sums_LR = squares_SB[steps_LB, rows_B].reshape(len(lags), trials, -1).sum(2)
                norms[:, layer] = self._norms(sums_LR.cpu(), torch.tensor(self.counted)[:, None], trials).T
                continue
            for place, lag in enumerate(lags):
                chosen = (self.reach_B >= lag).nonzero()[:, 0]
                parts_RC = squares_SB[self.ends_B[chosen] - lag, chosen].reshape(trials, -1)
                norms[:, layer, place] = self._norms(parts_RC.sum(1).cpu(), torch.tensor(self.counted[place]), trials)
        return lags, (norms if trials > 1 else norms[0]) * self.weight / scale

    def _norms(self, sums: Tensor, counted: Tensor, trials: int) -> Tensor:
        return (sums / (counted // trials) * (self.sequences // trials)).sqrt()


def _places(marks: list[Mark], begun: dict[int, State]) -> list[Place]:
    """Return where the gradient of one layer is read: at the steps that have a mark or begin a stretch."""
    places = [(mark.step, index, part) for mark in marks for index, part in enumerate((mark.output_BPH, *mark.others))]
    places += [(step, index, part) for step, state in begun.items() for index, part in enumerate(state)]
    return [place for place in places if place[2].requires_grad]


def _squares(places: list[Place], grads: Sequence[Tensor | None], batch: int) -> Tensor:
    """Return |dL/dstate|^2 (steps + 1, B) of one layer from the gradients at its places."""
    total: dict[tuple[int, int], Tensor] = {}
    for (step, index, _), grad in zip(places, grads, strict=True):
        if grad is not None:
            # h of a piece is the last step of its output; a leaf is h itself
            part_BH = (grad[:, -1] if grad.ndim == 3 else grad).double()
            # a state at a cut is held twice: by what ends there and by what goes on from it
            total[step, index] = total[step, index] + part_BH if (step, index) in total else part_BH
    last = max(step for step, *_ in places)
    squares_SB = places[0][2].new_zeros(last + 1, batch, dtype=torch.float64)
    for (step, _), part_BH in total.items():
        squares_SB[step] += part_BH.square().sum(1)
    return squares_SB
