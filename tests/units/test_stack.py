"""Layers, directions and padding: each sequence gets what it would get alone."""

from __future__ import annotations

import itertools

import pytest
import torch
from by_hand import assert_close, built, drawn, every_cell, every_kernel, gradients, in_windows, noise, weights
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.cells.lstm import LSTM
from harness.models.stack import Stack, flip

CELLS = every_cell()
any_kernel = pytest.mark.parametrize(("name", "fused"), every_kernel(CELLS))
some_lengths = st.lists(st.integers(1, 6), min_size=1, max_size=4)


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5), extra=st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_flip_reverses_each_sequence_and_leaves_its_padding(lengths: list[int], extra: int) -> None:
    lengths_B = torch.tensor(lengths)
    x_BTD = noise(len(lengths), max(lengths) + extra, 2).requires_grad_()
    flipped_BTD = flip(x_BTD, lengths_B)
    for row, out, n in zip(x_BTD, flipped_BTD, lengths, strict=True):
        assert torch.equal(out, torch.cat([row[:n].flip(0), row[n:]]))
    assert torch.equal(flip(flipped_BTD, lengths_B), x_BTD)
    goal = noise(*x_BTD.shape, seed=1)
    flipped_BTD.backward(goal)
    assert torch.equal(x_BTD.grad, flip(goal, lengths_B))  # a permutation: its gradient is the way back


def shortened(pieces: list[int], steps: int) -> list[int]:
    """Cut pieces off at `steps`."""
    edges = [0, *itertools.accumulate(pieces)]
    return [min(stop, steps) - start for start, stop in itertools.pairwise(edges) if start < steps]


def in_one(stack: Stack, x_BTD: Tensor, lengths_B: Tensor, pieces: list[int]) -> Tensor:
    """Output of a stack, in pieces and uncut."""
    return stack(x_BTD, stack.zero_state(len(x_BTD)), lengths_B, pieces)[0]


@any_kernel
@given(lengths=some_lengths, first=st.integers(1, 6), layers=st.integers(1, 3), both=st.booleans(), cut=st.booleans())
@settings(deadline=None, max_examples=12)
def test_a_padded_batch_gives_what_each_sequence_gives_alone(name, fused, lengths, first, layers, both, cut) -> None:
    stack, steps, run = built(CELLS[name], fused, layers, both), max(lengths), in_windows if cut else in_one
    pieces = [first, steps - first] if first < steps else [steps]
    x_BTD = noise(len(lengths), steps, 2).requires_grad_()
    out_BTH = run(stack, x_BTD, torch.tensor(lengths), pieces)
    sum(row[:n].square().sum() for row, n in zip(out_BTH, lengths, strict=True)).backward()
    found = gradients(stack)
    for row, out, grad, n in zip(x_BTD.detach(), out_BTH, x_BTD.grad, lengths, strict=True):
        alone_BTD = row[None, :n].clone().requires_grad_()
        alone_BTH = run(stack, alone_BTD, torch.tensor([n]), shortened(pieces, n))
        alone_BTH.square().sum().backward()
        assert_close((out[:n], grad[:n]), (alone_BTH[0], alone_BTD.grad[0]))
        assert not bool(grad[n:].any())
    assert_close(found, gradients(stack))  # summed over the sequences alone


@any_kernel
@pytest.mark.parametrize("both", [False, True], ids=["forward", "both"])
def test_what_stands_in_the_padding_does_not_change_a_bit(name: str, fused: bool, both: bool) -> None:
    stack, lengths_B, found = built(CELLS[name], fused, 2, both), torch.tensor([6, 1, 4]), []
    real_BT1 = (torch.arange(6) < lengths_B[:, None])[:, :, None]
    for filler in (torch.zeros(()), torch.tensor(1e4), noise(3, 6, 2, seed=5)):
        x_BTD = noise(3, 6, 2).where(real_BT1, filler)
        out_BTH, _, _ = stack(x_BTD, stack.zero_state(3), lengths_B, [4, 2])
        out_BTH = out_BTH.where(real_BT1, 0)
        out_BTH.square().sum().backward()
        found.append([out_BTH, *gradients(stack)])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@any_kernel
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("pieces", [[5], [2, 3]], ids=str)
def test_both_directions_equal_two_loops_by_hand(name, fused, layers, pieces) -> None:
    """The backward direction reads from the end; its gradient is cut after as many of its own steps."""

    def one_way(layer, x_BTD):
        state, w, outputs = layer.zero_state(len(x_BTD)), weights(layer), []
        for t, x_BD in enumerate(x_BTD.unbind(1)):
            state = tuple(s.detach() for s in state) if t == pieces[0] else state
            h_BH, state = layer.cell.step(w, x_BD @ w.weight_ih.mT + w.bias_ih, state)
            outputs.append(h_BH)
        return torch.stack(outputs, 1)

    stack, x_BTD = built(CELLS[name], fused, layers, bidirectional=True), noise(3, 5, 2)
    plain_BTH = x_BTD
    for ahead, back in stack.rows:
        plain_BTH = torch.cat([one_way(ahead, plain_BTH), one_way(back, plain_BTH.flip(1)).flip(1)], 2)
    plain_BTH.square().sum().backward()
    expected = gradients(stack)
    out_BTH = in_windows(stack, x_BTD, torch.full((3,), 5), pieces)
    out_BTH.square().sum().backward()
    assert_close(out_BTH, plain_BTH)
    assert_close(gradients(stack), expected)


def test_states_come_layer_by_layer_the_forward_direction_first() -> None:
    stack, x_BTD = built(LSTM(), fused=True, layers=2, bidirectional=True), noise(3, 5, 2)
    out_BTH, ends, marks = stack(x_BTD, stack.zero_state(3), torch.full((3,), 5), [5])
    assert [[tuple(s.shape) for s in state] for state in ends] == [[(3, 3), (3, 3)]] * 4
    assert torch.equal(ends[2][0], out_BTH[:, -1, :3])
    assert torch.equal(ends[3][0], out_BTH[:, 0, 3:])
    assert [len(found) for found in marks] == [1, 1]


def test_dropout_acts_between_layers_and_in_training_only() -> None:
    x_BTD, lengths_B = noise(2, 4, 2), torch.tensor([4, 2])
    for layers in (1, 2):
        stack = drawn(Stack(LSTM(), 2, 8, layers, False, 0.5, True))
        torch.manual_seed(0)
        outputs = [stack.train(on)(x_BTD, stack.zero_state(2), lengths_B, [4])[0] for on in (True, True, False, False)]
        assert torch.equal(outputs[2], outputs[3])
        assert torch.equal(outputs[0], outputs[1]) == (layers == 1)
        assert torch.equal(outputs[0], outputs[2]) == (layers == 1)
