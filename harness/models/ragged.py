"""A stack over a batch in one call: cut where asked, and each sequence of different length seen from its own end.

Shape legend: see harness/cells/base.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from harness.cells.base import State
from harness.models.layer import Layer, Mark
from harness.models.stack import Stack, StackState, flip, padding
from harness.models.unroll import sizes


@dataclass(frozen=True)
class Unrolled:
    """A stack after reading a batch: what each layer gave, where it began, and how each sequence ended.

    `ends` are the states after each sequence's own last step, by layer and direction. `marks` and `begun` are those
    of the forward directions by layer; `begun` is the state that each stretch between two cuts started from, by step.
    """

    output_BTH: Tensor
    ends: StackState
    marks: list[list[Mark]]
    begun: list[dict[int, State]]


def unroll(
    stack: Stack,
    x_BTD: Tensor,
    starts: StackState,
    lengths_B: Tensor,
    edges: Iterable[int],
    cuts: list[int],
    watch: bool = False,
    ends: bool = True,
) -> Unrolled:
    """Unroll from `starts`, the gradient cut before each step in `cuts`, with a mark at each cut and edge.

    Unlike `Stack.forward`, which answers for the whole batch after its last step, each sequence ends at its own
    length: h is a row of the output, and the states beside it are read at a mark, so a batch is also cut at each
    length in it. Padding is computed and never looked at, so no state and no gradient depends on it. Both directions
    of a bidirectional stack count steps as they read. `watch` makes each cut a leaf at which the gradient can be read.
    Without `ends` they are left out, and no cut is made for them.
    """
    last: StackState = []
    marks: list[list[Mark]] = []
    begun: list[dict[int, State]] = []
    begin = iter(starts)
    if ends and any(len(state) > 1 for state in starts):
        edges = {*edges, *lengths_B.unique().tolist()}
    edges, beyond = list(edges), padding(stack.rows[0][0].cell, x_BTD, lengths_B)
    for index, row in enumerate(stack.rows):
        if index and stack.dropout:
            x_BTD = stack.drop(x_BTD, stack.dropout, stack.training)
        outputs = []
        for back, layer in enumerate(row):
            read_BTD = flip(x_BTD, lengths_B) if back else x_BTD
            out_BTH, found, first = _through(layer, read_BTD, next(begin), edges, cuts, watch, beyond)
            if ends:
                last.append(_own_end(out_BTH, found, lengths_B))
            outputs.append(flip(out_BTH, lengths_B) if back else out_BTH)
            if not back:
                marks.append(found)
                begun.append(first)
        x_BTD = torch.cat(outputs, 2) if len(outputs) > 1 else outputs[0]
    return Unrolled(x_BTD, last, marks, begun)


def _through(
    layer: Layer, x_BTD: Tensor, state: State, edges: list[int], cuts: list[int], watch: bool, beyond: Tensor | None
) -> tuple[Tensor, list[Mark], dict[int, State]]:
    """One layer in one direction: its output, a mark at each cut and edge, and the state after each cut."""
    outputs, marks, begun = [], [], {0: state}
    for begin, stop in pairwise([0, *cuts, x_BTD.shape[1]]):
        if begin:
            state = begun[begin] = tuple(s.detach().requires_grad_(watch) for s in state)
        off_BP1 = None if beyond is None else beyond[:, begin:stop]
        out_BPH, state, found = layer(x_BTD[:, begin:stop], state, sizes(begin, stop, edges), off_BP1)
        outputs.append(out_BPH)
        marks += [Mark(begin + mark.step, mark.output_BPH, mark.others) for mark in found]
    return (torch.cat(outputs, 1) if cuts else outputs[0]), marks, begun


def _own_end(out_BTH: Tensor, marks: list[Mark], lengths_B: Tensor) -> State:
    if not marks:
        return ()
    row = torch.arange(len(out_BTH), device=out_BTH.device)
    h_BH = out_BTH[row, lengths_B - 1]
    if not marks[0].others:
        return (h_BH,)
    steps = torch.tensor([mark.step for mark in marks], device=lengths_B.device)
    place_B = torch.searchsorted(steps, lengths_B)
    return (h_BH, *(torch.stack(s)[place_B, row] for s in zip(*(mark.others for mark in marks), strict=True)))
