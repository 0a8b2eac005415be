"""Windows of backpropagation through time: where a sequence is cut, and what a cut does to the state.

One mechanism (DESIGN, section 5): a sequence is unrolled piece by piece with the state carried. Not detaching at a
boundary is full BPTT, detaching is truncated BPTT, and the gradient that arrives at a boundary is the exact total
dL/dstate there, through torch's fused kernels as well (by_lag.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.models.base import Windows
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
