"""Dropout in a pack: each trial draws its own masks, from its own generator, as it does alone.

Torch's dropout on a CPU draws a mask like its input, in the order in which that lies in memory, and divides it by what
is kept. So does this, trial by trial, before all are multiplied at once. On a GPU torch draws inside of a kernel, from
the device's one generator, which cannot be had trial by trial: there such trials train by themselves (plan.py).

Shape legend: see harness/cells/base.py; N is K * B.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Generator, Tensor

Found = TypeVar("Found")


class Masks:
    """Stands in the place of torch's dropout, for K trials."""

    def __init__(self, generators: Sequence[Generator]) -> None:
        self.generators = generators

    def __call__(self, x: Tensor, share: float, training: bool) -> Tensor:
        """Drop a `share` of the units (N, ..., H), of each trial's rows by its own draw."""
        if not training or not share:
            return x
        x_K = x.unflatten(0, (len(self.generators), -1))
        kept_K = torch.empty_like(x_K, requires_grad=False)
        for kept, generator in zip(kept_K.unbind(0), self.generators, strict=True):
            kept.bernoulli_(1 - share, generator=generator)
        return (x_K * kept_K.div_(1 - share)).flatten(0, 1)


@contextmanager
def drawing_from(generator: Generator) -> Iterator[None]:
    """What draws from torch's own generator inside draws from this one."""
    before = torch.get_rng_state()
    torch.set_rng_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(torch.get_rng_state())
        torch.set_rng_state(before)


def undrawn(generators: Sequence[Generator], attempt: Callable[[], Found | None]) -> Found | None:
    """Return what an attempt finds; where that is nothing, or it fails, what it drew is drawn again by the next."""
    before, found = [generator.get_state() for generator in generators], None
    try:
        found = attempt()
    finally:
        if found is None:
            for generator, state in zip(generators, before, strict=True):
                generator.set_state(state)
    return found
