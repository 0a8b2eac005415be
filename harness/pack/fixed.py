"""One update of K trials as a function from fixed memory to fixed memory: what a CUDA graph can record and repeat.

`run` goes forward and back, clips, judges and steps: it reads only what `load` has put into place and weights, moments
and counts, and writes only in place. It looks at no number: every choice in it follows from shapes and from what the
host knew before, and a trial that has diverged is left as it is by a mask. tests/units/test_pack_captured.py holds it
to that by running it on torch's `meta` device, which has no numbers to look at, by refusing each operation whose shape
or course depends on them, and by repeating a recording of it.

Shape legend: see harness/cells/base.py and harness/pack/stacked.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from harness.data.batches import Batch
from harness.models.base import Windows
from harness.models.clipping import Clipped
from harness.models.stack import StackState
from harness.pack.clipping import clipped
from harness.pack.stacked import Gradient, Stacked
from harness.training.module import EXPLOSION

LEAST = 1e-6
"""A first loss counts as at least so large (RecurrentModule.wrong)."""


class Done(NamedTuple):
    """What an update found, its gradients as they are after clipping, and what that did."""

    found: Gradient
    clipped: list[Clipped]


class Fixed:
    """An update over batches of one shape, all of whose sequences have all steps."""

    def __init__(self, stacked: Stacked, batch: Batch, windows: Windows) -> None:
        """`batch`: one of the batches (`merged.py`), on the host, where what decides a shape is read."""
        (self.block,) = stacked.blocks
        self.stacked, self.windows = stacked, windows
        like, trials = stacked.weights_KN, len(stacked.modules)
        inputs, targets, lengths = (part.to(like.device, copy=True) for part in batch[:3])
        resets = None if batch.resets is None else batch.resets.to(like.device, copy=True)
        self.batch = Batch(inputs, targets, lengths, resets, batch.advance, whole=batch)
        zeros = self.block.model.stack.zero_state(len(batch.inputs)) if batch.resets is not None else []
        self.states: StackState = zeros
        self.began: StackState = [tuple(torch.zeros_like(part) for part in state) for state in zeros]
        self.handed = stacked.each(self.block, self.states or None)
        self.given_2K = torch.zeros(2, trials, dtype=torch.float64, device=like.device)  # rates, first losses
        self.found_5K = torch.zeros(5, trials, dtype=torch.float64, device=like.device)
        self.grads_KN = torch.zeros_like(like)
        self._given: list[list[float]] = []

    def load(self, batch: Batch, rates: Sequence[float]) -> None:
        """Put what an update reads into place."""
        for place, part in zip(self.batch[:4], batch[:4], strict=True):
            if isinstance(place, Tensor) and part is not None and place is not self.batch.lengths:
                place.copy_(part)
        firsts = [module.first_loss for module in self.stacked.modules]
        given = [[*rates], [math.nan if first is None else first for first in firsts]]
        if given != self._given:  # never equal while a first loss is not known
            self.given_2K.copy_(torch.tensor(given, dtype=torch.float64))
            self._given = given
        owned = [module.model.carried.get(True) for module in self.stacked.modules]
        if self.states and any(own is not mine for own, mine in zip(owned, self.handed, strict=True)):
            carried = self.stacked.carried(self.block).get(True)
            for state, own in zip(self.states, carried or self.states, strict=True):
                for part, value in zip(state, own, strict=True):
                    part.copy_(value) if carried else part.zero_()

    def run(self) -> None:
        """Make the update."""
        model, (rate_K, first_K) = self.block.model, self.given_2K.unbind(0)
        model.carried = {True: self.states} if self.states else {}
        loss_K, grads_KN, _ = self.stacked.gradient_of(self.block, self.batch, self.windows)
        with torch.no_grad():
            clips, loss_K = self.stacked.clip(grads_KN, self.stacked.weights_KN), loss_K.double()
            first_K = torch.where(first_K.isnan(), loss_K, first_K)
            finite_K = (loss_K.abs() < math.inf) & (clips.before_K < math.inf)
            going_K = finite_K & (loss_K <= EXPLOSION * first_K.abs().clamp(min=LEAST))
            self.stacked.step_where(going_K, rate_K, grads_KN)
            self.found_5K.copy_(torch.stack([loss_K, *clips, going_K]))
            self.grads_KN.copy_(grads_KN)
            for states, new in ((self.began, model.began), (self.states, model.carried.get(True, []))):
                for state, own in zip(states, new, strict=True):
                    for part, value in zip(state, own, strict=True):
                        part.copy_(value)

    def done(self) -> Done:
        """Hand the states on to the trials, and return what was found: the only wait for the device."""
        self.block.model.began = self.began
        if self.states:
            for module, own in zip(self.stacked.modules, self.handed, strict=True):
                assert own is not None
                module.model.carried[True] = own
        losses, *clips, _ = self.found_5K.tolist()
        return Done(Gradient(losses, self.grads_KN, [None] * len(losses)), clipped(clips))

    def memory(self) -> list[Tensor]:
        """All that an update changes."""
        stacked = self.stacked
        changed: list[Any] = [stacked.weights_KN, *stacked.moments.values(), stacked.steps_K]
        states = [part for state in (*self.states, *self.began) for part in state]
        return [*changed, *states, self.found_5K, self.grads_KN]
