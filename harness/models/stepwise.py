"""Where a backward pass first leaves the finite numbers: repeated one time step a piece, with a look at each gradient.

Shape legend: see harness/cells/base.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from harness.cells.base import State
from harness.models.base import Differentiate, Model, Told
from harness.models.layer import Layer, Mark
from harness.models.stack import Stack

Repeat = Callable[[Differentiate, Told], object]
"""Repeats a failed update's forward and backward passes."""


class Fault(NamedTuple):
    """Where something is not finite first, and what it is."""

    layer: str
    step: int | None
    what: str


class Seen:
    """The first gradient with an element that is not finite, and the first whose norm is not: its squares overflow."""

    def __init__(self) -> None:
        self.element: Fault | None = None
        self.norm: Fault | None = None

    def look(self, grad: Tensor, layer: str, step: int, what: str) -> bool:
        """Note a gradient that is not finite, unless one was before; return whether this one is."""
        finite = bool(grad.isfinite().all())
        if not finite and self.element is None:
            self.element = Fault(layer, step, f"{what} is not finite")
        if finite and self.norm is None and not bool(torch.linalg.vector_norm(grad).isfinite()):
            self.norm = Fault(layer, step, f"{what} has a norm that is not finite")
        return finite


class Stepwise(nn.Module):
    """Stands in a layer's place and computes what it does, one step a piece, with hooks on every gradient."""

    def __init__(self, layer: Layer, name: str, above: str, back: bool, seen: Seen) -> None:
        """`above`: what reads the layer's outputs, unless that is a layer. `back`: it reads from the end."""
        super().__init__()
        self.layer, self.cell, self.kernel, self.zero_state = layer, layer.cell, layer.kernel, layer.zero_state
        self.name, self.above, self.seen, self.step = name, above, seen, 0
        self.reading = ", counting steps from the end, as this direction reads," if back else ""
        self.sums: dict[str, Tensor] = {}  # of the gradients of weights, over the steps that were gone back

    def forward(
        self, x_BTD: Tensor, state: State, pieces: Sequence[int], padding_BT1: Tensor | None = None
    ) -> tuple[Tensor, State, list[Mark]]:
        """As Layer.forward, with a mark at each step."""
        outputs, marks = [], []
        for place in range(x_BTD.shape[1]):
            # slices of their own, for the parts of one split get their gradients together, after the last of them
            x_B1D = x_BTD[:, place : place + 1]
            off_B11 = None if padding_BT1 is None else padding_BT1[:, place : place + 1]
            step = self.step + place
            self._watch(x_B1D, step, "the gradient of its input")
            weights = {name: weight.view_as(weight) for name, weight in self.layer.named_parameters()}
            for name, weight in weights.items():
                self._add(weight, step, name)
            out_B1H, state, found = functional_call(self.layer, weights, (x_B1D, state, [1], off_B11))
            for part in (out_B1H, *(other for mark in found for other in mark.others)):
                self._watch(part, step, "the gradient of its state")
            outputs.append(out_B1H)
            marks += [Mark(place + 1, mark.output_BPH, mark.others) for mark in found]
        out_BTH = torch.cat(outputs, 1)
        if self.above and out_BTH.requires_grad:
            out_BTH.register_hook(self._from_above(self.step))
        self.step += x_BTD.shape[1]
        return out_BTH, state, marks

    def _watch(self, part: Tensor, step: int, what: str) -> None:
        if part.requires_grad:
            part.register_hook(lambda grad: self._look(grad, step, what))

    def _look(self, grad: Tensor, step: int, what: str) -> None:
        self.seen.look(grad, self.name, step, what + self.reading)

    def _add(self, weight: Tensor, step: int, name: str) -> None:
        def add(grad: Tensor) -> None:
            self.sums[name] = self.sums[name] + grad if name in self.sums else grad
            self._look(self.sums[name], step, f"the gradient of {name}")

        if weight.requires_grad:
            weight.register_hook(add)

    def _from_above(self, begin: int) -> Callable[[Tensor], None]:
        def look(grad_BTH: Tensor) -> None:
            bad_T = ~grad_BTH.isfinite().all(2).all(0)
            last = begin + int(bad_T.nonzero().max()) if bool(bad_T.any()) else begin
            self.seen.look(grad_BTH, self.above, last, "the gradient that comes from it" + self.reading)

        return look


def first_bad_gradient(model: Model, repeat: Repeat) -> Fault | None:
    """Return which gradient is the first that is not finite, in the order in which they are computed: from the layer
    nearest the head down, and in each from the last step back. None if all are finite.

    Of each layer and step: the gradient of the state, as it comes from the step after and from the layer above; that of
    the input; and that of each weight, summed over the steps that were gone back. Where all elements are finite, the
    first whose norm is not, for that ends training too. Hooks are called as the gradients arrive, and of what is ready
    autograd takes what was computed last, so that their order is this one.
    """
    seen = Seen()
    weights = [weight for weight in model.parameters() if weight.requires_grad]

    def differentiate(loss: Tensor) -> None:
        if seen.element is None and loss.requires_grad:
            torch.autograd.grad(loss, weights, allow_unused=True)

    with _in_place(model, seen) as layers:

        def begin(step: int) -> None:
            for layer in layers:
                layer.step = step

        repeat(differentiate, begin)
    return seen.element or seen.norm


@contextmanager
def _in_place(model: Model, seen: Seen) -> Iterator[list[Stepwise]]:
    """Put a Stepwise in the place of each layer, and the layers back afterwards."""
    stacks = [(name, module) for name, module in model.named_modules() if isinstance(module, Stack)]
    were = [(row, place, layer) for _, stack in stacks for row in stack.rows for place, layer in enumerate(row)]
    layers = []
    for name, stack in stacks:
        for index, row in enumerate(stack.rows):
            named = f"layers.{index}" if name == "stack" else f"{name}.layers.{index}"
            above = "head" if index == len(stack.rows) - 1 and name != "encoder" else ""
            for place, layer in enumerate(list(row)):
                layers.append(Stepwise(layer, named, above, place > 0, seen))
                row[place] = layers[-1]  # type: ignore[call-overload]
    try:
        yield layers
    finally:
        for row, place, layer in were:
            row[place] = layer
