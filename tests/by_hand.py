"""What layers are held against: cells unrolled by hand, one step and one layer at a time, with nothing clever."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_origin

import torch
from torch import Tensor, nn

from harness import registry
from harness.cells.base import Cell
from harness.models.by_lag import Look
from harness.models.layer import Layer, Mark
from harness.models.ragged import unroll
from harness.models.stack import Stack, StackState


def every_cell() -> dict[str, Cell]:
    """Return each cell of the registry, once for every value of its settings that are one of a few."""
    found: dict[str, Cell] = {}
    for name, kind in registry.members("harness.cells").items():
        choices = {
            key: get_args(field.annotation) if get_origin(field.annotation) is Literal else (True, False)
            for key, field in kind.model_fields.items()
            if get_origin(field.annotation) is Literal or field.annotation is bool
        }
        for values in itertools.product(*choices.values()):
            cell: Any = kind(**dict(zip(choices, values, strict=True)))
            found["-".join([name, *map(str, values)])] = cell
    return found


def every_kernel(cells: dict[str, Cell]) -> list[tuple[str, bool]]:
    """Return (name, fused) for every way to unroll each cell: the quickest that it has, and the loop."""
    return [(name, kernel != "loop") for name, cell in cells.items() for kernel in cell.kernels]


def drawn(stack: nn.Module, seed: int = 0, scale: float = 0.5) -> Any:
    """Give every weight a value in +-scale, so that no term of a formula is silent at its start value; float64."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in stack.parameters():
            weight.copy_(scale * (2 * torch.rand(weight.shape, generator=generator, dtype=torch.float64) - 1))
    return stack.double()


def built(cell: Cell, fused: bool, layers: int = 1, bidirectional: bool = False, inputs: int = 2) -> Stack:
    """A stack of 3 units with drawn weights in float64."""
    return drawn(Stack(cell, inputs, 3, layers, bidirectional, 0.0, fused))


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers in float64 that depend on the seed alone."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(layer: Layer) -> SimpleNamespace:
    """A layer's weights by name."""
    return SimpleNamespace(**dict(layer.named_parameters(recurse=False)))


def unrolled(
    stack: Stack, x_BTD: Tensor, cuts: Collection[int] = (), start: list[Any] | None = None
) -> tuple[Tensor, list[list[Any]]]:
    """Run the forward directions step by step, the gradient cut before each step in `cuts`.

    Returns the output (B, T, H) and, by layer and step, the state: tensors of their own that keep their gradient. The
    first of each layer is the state before the first step.
    """
    layers = [row[0] for row in stack.rows]
    found = [[state] for state in start or stack.zero_state(len(x_BTD))]
    outputs = []
    for t in range(x_BTD.shape[1]):
        below_BH = x_BTD[:, t]
        for layer, states in zip(layers, found, strict=True):
            w, state = weights(layer), states[-1]
            if t in cuts:
                state = tuple(s.detach() for s in state)
            below_BH, state = layer.cell.step(w, below_BH @ w.weight_ih.mT + w.bias_ih, state)
            state = tuple(s.clone() for s in state)
            for s in state:
                s.retain_grad()
            states.append(state)
            below_BH = state[0] if state else below_BH
        outputs.append(below_BH)
    return torch.stack(outputs, 1), found


def in_windows(stack: Stack, x_BTD: Tensor, lengths_B: Tensor, pieces: list[int]) -> Tensor:
    """Output (B, T, ...) of a stack, the gradient cut between pieces of these lengths."""
    cuts = list(itertools.accumulate(pieces[:-1]))
    return unroll(stack, x_BTD, stack.zero_state(len(x_BTD)), lengths_B, (), cuts, ends=False).output_BTH


def by_lag(
    loss: Tensor, start: StackState, marks: list[list[Mark]], steps: int, directions: int = 1
) -> tuple[list[int], Tensor]:
    """|dL/dstate| at every mark and at the start, where all sequences have as many steps."""
    lags, ends_B = [*(steps - mark.step for mark in marks[0][::-1]), steps], torch.full((len(start[0][0]),), steps)
    counted = [int((ends_B >= lag).sum()) for lag in lags]
    look = Look(ends_B, ends_B, lags, counted, len(ends_B), 1.0)
    return look.read(loss, marks, [{0: state} for state in start[::directions]])


def gradients(module: nn.Module) -> list[Tensor]:
    """Take the gradient of every weight, zeros where none arrived, and clear it."""
    found = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    return found


def assert_close(found: Any, expected: Any, tolerance: float = 1e-12) -> None:
    """Equal within an absolute tolerance, tensor by tensor."""
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
