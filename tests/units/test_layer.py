"""One layer in one direction: the parallel scan, the marks, and gradients outside of training."""

from __future__ import annotations

import pytest
import torch
from by_hand import assert_close, built, drawn, every_cell, every_kernel, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from harness.cells.gru import GRU
from harness.cells.irnn import IRNN
from harness.cells.lstm import LSTM
from harness.models.layer import Layer
from harness.models.ragged import unroll
from harness.models.scan import scan
from harness.models.unroll import leaf

CELLS = every_cell()
any_kernel = pytest.mark.parametrize(("name", "fused"), every_kernel(CELLS))


def one_by_one(a_BTH, b_BTH, h_BH):
    outputs = []
    for a_BH, b_BH in zip(a_BTH.unbind(1), b_BTH.unbind(1), strict=True):
        h_BH = a_BH * h_BH + b_BH
        outputs.append(h_BH)
    return torch.stack(outputs, 1)


@given(
    steps=st.integers(1, 70), batch=st.integers(1, 3), seed=st.integers(0, 99), low=st.sampled_from([-1.0, 0.0, 0.99])
)
@settings(deadline=None, max_examples=30)
def test_scan_equals_one_step_after_the_other(steps: int, batch: int, seed: int, low: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    factor = low + (1 - low) * torch.rand(batch, steps, 2, generator=generator, dtype=torch.float64)
    found = []
    for run in (scan, one_by_one):
        inputs = [t.clone().requires_grad_() for t in (factor, noise(batch, steps, 2), noise(batch, 2, seed=seed))]
        out_BTH = run(*inputs)
        (out_BTH * noise(batch, steps, 2, seed=1)).sum().backward()
        found.append((out_BTH, *(t.grad for t in inputs)))
    assert_close(found[0], found[1])


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_scan_has_first_and_second_derivatives(steps: int) -> None:
    arguments = (noise(2, steps, 2).sigmoid(), noise(2, steps, 2, seed=1), noise(2, 2, seed=2))
    arguments = tuple(tensor.requires_grad_() for tensor in arguments)
    assert gradcheck(scan, arguments)
    assert gradgradcheck(scan, arguments)


@pytest.mark.parametrize("factor", [0.0, 1e-30, 0.5, 1 - 1e-6, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scan_over_thousands_of_steps_neither_overflows_nor_loses_the_state(factor: float, dtype: torch.dtype) -> None:
    a_BTH = torch.full((1, 3000, 1), factor, dtype=dtype).requires_grad_()
    b_BTH = (1 - a_BTH.detach()).requires_grad_()
    out_BTH = scan(a_BTH, b_BTH, torch.ones(1, 1, dtype=dtype))
    out_BTH[:, -1].sum().backward()
    assert_close(out_BTH, torch.ones_like(out_BTH), 0.02 if dtype is torch.bfloat16 else 1e-5)  # an average of ones
    assert a_BTH.grad is not None and b_BTH.grad is not None
    assert bool(a_BTH.grad.isfinite().all()) and bool(b_BTH.grad.isfinite().all())


def test_scan_keeps_a_non_finite_input_to_the_steps_from_it_on() -> None:
    b_BTH = torch.zeros(1, 9, 1)
    b_BTH[0, 5] = torch.nan
    out_BTH = scan(torch.full((1, 9, 1), 0.5), b_BTH, torch.zeros(1, 1))
    assert out_BTH[0, :, 0].isnan().tolist() == [False] * 5 + [True] * 4


@any_kernel
def test_gradient_does_not_need_training_mode(name: str, fused: bool) -> None:
    layer, x_BTD, found = drawn(Layer(CELLS[name], 2, 3, fused)), noise(2, 5, 2), []
    for training in (True, False):
        out_BTH, _, _ = layer.train(training)(x_BTD, layer.zero_state(2), [5])
        found.append(torch.autograd.grad(out_BTH.square().sum(), list(layer.parameters()), allow_unused=True))
    assert_close(found[0], found[1], 0)


@any_kernel
def test_no_gradient_gives_the_same_output(name: str, fused: bool) -> None:
    layer, x_BTD = drawn(Layer(CELLS[name], 2, 3, fused)), noise(2, 5, 2)
    with torch.no_grad():
        quiet_BTH, _, _ = layer(x_BTD, layer.zero_state(2), [5])
    assert_close(layer(x_BTD, layer.zero_state(2), [5])[0], quiet_BTH)


@any_kernel
def test_a_mark_holds_the_state_that_the_next_piece_starts_from(name: str, fused: bool) -> None:
    layer, x_BTD = drawn(Layer(CELLS[name], 2, 3, fused)), noise(2, 6, 2)
    _, end, marks = layer(x_BTD, layer.zero_state(2), [2, 3, 1])
    for mark in marks:
        state = (mark.output_BPH[:, -1], *mark.others)
        if mark.step < 6:
            rest_BTH, other_end, _ = layer(x_BTD[:, mark.step :], state, [6 - mark.step])
            assert_close(other_end, end)
            assert_close(rest_BTH[:, -1], end[0])
    assert [mark.step for mark in marks] == ([2, 5, 6] if CELLS[name].states else [])


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "loop"])
def test_detaching_cuts_between_pieces_and_not_before_the_first(fused: bool) -> None:
    stack = built(LSTM(), fused)
    (start,) = starts = leaf(stack.zero_state(2))
    out_BTH = unroll(stack, noise(2, 6, 2), starts, torch.tensor([6, 6]), (), [2], ends=False).output_BTH
    for steps, reached in [(2, True), (3, False)]:
        grads = torch.autograd.grad(out_BTH[:, steps - 1].sum(), start, retain_graph=True, allow_unused=True)
        assert [grad is not None and bool(grad.any()) for grad in grads] == [reached] * 2


def test_the_gradient_at_a_mark_is_of_c_with_h_held_fixed() -> None:
    """h = o tanh(c) is a state of its own: at the last step nothing else depends on c, on either path."""
    for fused in (True, False):
        layer = drawn(Layer(LSTM(), 2, 3, fused))
        out_BTH, _, marks = layer(noise(2, 4, 2), layer.zero_state(2), [2, 2])
        at_end, before = (mark.others[0] for mark in marks[::-1])
        last, earlier = torch.autograd.grad(out_BTH[:, -1].sum(), [at_end, before], allow_unused=True)
        assert last is None or not bool(last.any())
        assert bool(earlier.any())


def test_state_of_zero_follows_the_weights() -> None:
    layer = Layer(LSTM(), 2, 3, fused=True).to(torch.bfloat16)
    assert [(s.shape, s.dtype, bool(s.any())) for s in layer.zero_state(4)] == [((4, 3), torch.bfloat16, False)] * 2


def test_start_values_of_the_papers() -> None:
    layer = Layer(LSTM(forget_bias=2.0), 2, 3, fused=True)
    layer.start(torch.Generator().manual_seed(0))
    assert layer.bias_ih[3:6].tolist() == [2.0] * 3
    assert layer.bias_ih[:3].abs().max() < 1
    layer = Layer(IRNN(), 2, 3, fused=True)
    layer.start(torch.Generator().manual_seed(0))
    out_BTH, _, _ = layer(torch.zeros(1, 9, 2), (torch.tensor([[0.3, 0.7, 0.0]]),), [9])
    assert torch.equal(out_BTH[0, -1], torch.tensor([0.3, 0.7, 0.0]))  # with no input it keeps what it has


@pytest.mark.parametrize("cell", [GRU(), LSTM(), IRNN()], ids=["gru", "lstm", "irnn"])
def test_what_is_asked_for_is_what_runs(cell) -> None:
    assert [Layer(cell, 2, 3, fused).kernel for fused in (True, False)] == ["fused", "loop"]
