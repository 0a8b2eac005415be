"""Windows of backpropagation through time, and the gradient of the loss by lag that is read off their boundaries.

One mechanism (DESIGN, section 5): a sequence is unrolled piece by piece with the state carried. Not detaching at a
boundary is full BPTT, detaching is truncated BPTT, and the gradient that arrives at a boundary is the exact total
dL/dstate there, through torch's fused kernels as well.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from harness.models.base import Windows
from harness.models.layer import Mark
from harness.models.stack import StackState

LAG_POINTS = 16


def windows(steps: int, length: int | None, due_at_end: bool) -> list[tuple[int, int]]:
    """Cut `steps` into [start, stop) windows of `length`; None is one window over all.

    Every step is in exactly one window. What does not divide evenly leaves one shorter window: the last, or, where
    the only loss is at the end, the first, so that this loss still reaches back `length` steps.
    """
    if length is None or length >= steps:
        return [(0, steps)]
    short = steps % length
    starts = list(range(0, steps, length))
    if due_at_end and short:
        starts = [0, *range(short, steps, length)]
    return list(zip(starts, [*starts[1:], steps], strict=True))


def plan(steps: int, reach: Windows, due_at_end: bool) -> list[tuple[int, int, int]]:
    """Return the windows as (begin, fresh, stop): unroll from `begin` with the gradient cut there, count the loss of
    [fresh, stop). Every step is fresh once. Windows that overlap (k1 < k2) begin `length` steps before they stop, or
    at the sequence's start; others where they are fresh."""
    cuts = windows(steps, reach.stride or reach.length, due_at_end)
    if reach.length is None or reach.stride in (None, reach.length):
        return [(fresh, fresh, stop) for fresh, stop in cuts]
    return [(min(fresh, max(0, stop - reach.length)), fresh, stop) for fresh, stop in cuts]


def pieces(begin: int, stop: int) -> list[int]:
    """Return the time steps at which the instrument looks into [begin, stop): about LAG_POINTS, evenly from the end."""
    return list(range(stop, begin, -max(1, -(-(stop - begin) // LAG_POINTS))))


def sizes(begin: int, stop: int, edges: Iterable[int]) -> list[int]:
    """Cut [begin, stop) at those of `edges` that lie inside; return the lengths of the pieces."""
    inner = sorted({edge for edge in edges if begin < edge < stop})
    return [end - start for start, end in zip([begin, *inner], [*inner, stop], strict=True)]


def cut(states: StackState) -> StackState:
    """Return the same values, cut from the past."""
    return [tuple(s.detach() for s in state) for state in states]


def leaf(states: StackState) -> StackState:
    """Return the same values, cut from the past, as leaves at which the gradient can be read."""
    return [tuple(s.detach().requires_grad_() for s in state) for state in states]


def gradient_by_lag(
    loss: Tensor, start: StackState, marks: list[list[Mark]], steps: int, directions: int = 1
) -> tuple[list[int], Tensor]:
    """Return (lags, norms (layers, lags)) of |dL/dstate| for a loss at the end of a window of `steps`.

    The state of a layer is everything it carries, (h, c) for an LSTM; its norm is over batch and units. Lag n is the
    state n steps before the end; the start of the window is the largest lag. Keeps the graph.
    """
    lags = [*(steps - mark.step for mark in marks[0][::-1]), steps]
    rows = []
    for layer, found in enumerate(marks):
        groups = [[mark.output_BPH, *mark.others] for mark in found[::-1]] + [list(start[layer * directions])]
        flat = [tensor for group in groups for tensor in group]
        grads = iter(torch.autograd.grad(loss, flat, retain_graph=True, allow_unused=True))
        # h of a piece is the last step of its output; the leaf at the window's start is h itself
        rows.append([_norm([next(grads) for _ in group], last=i < len(found)) for i, group in enumerate(groups)])
    return lags, torch.tensor(rows, dtype=torch.float64)  # 1e-45, the least of float32, is a few hundred steps away


def _norm(grads: list[Tensor | None], last: bool) -> float:
    h, *others = grads
    parts = [h[:, -1] if last and h is not None else h, *others]
    squares = [part.double().square().sum() for part in parts if part is not None]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0
