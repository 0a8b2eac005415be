"""A batched loop is torch's own fused function, trial by trial: what it computes, and its derivative."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from harness import registry
from harness.pack.gains import IN_ONE_CALL
from harness.pack.kernels import LOOPS, trial_by_trial

K, T, B, H = 3, 4, 2, 3
NAMES = sorted(LOOPS)
GATES = {"rnn_tanh": 1, "rnn_relu": 1, "gru": 3}


def drawn(name: str) -> list[torch.Tensor]:
    """wx (K, T, B, G), h (K, B, H), weight (K, G, H), bias (K, G)."""
    torch.manual_seed(0)
    wide = GATES[name] * H
    shapes = [(K, T, B, wide), (K, B, H), (K, wide, H), (K, wide)]
    return [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes]


def looped(name: str, wx: torch.Tensor, h: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """As a layer runs it."""
    loop = LOOPS[name]
    return (loop.run(wx + bias[:, None, None], (h,), weight, None) if loop.folds else loop.run(wx, (h,), weight, bias))[
        0
    ]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_torchs_own_function_for_each_trial(name):
    wx, h, weight, bias = drawn(name)
    out_TKBH = looped(name, wx, h, weight, bias)
    eye, none = torch.eye(wx.shape[-1], dtype=torch.float64), torch.zeros(wx.shape[-1], dtype=torch.float64)
    for k in range(K):
        four = [eye, weight[k], none, bias[k]]
        expected_BTH, _ = getattr(torch, name)(wx[k].transpose(0, 1), h[k][None], four, True, 1, 0.0, True, False, True)
        torch.testing.assert_close(out_TKBH[:, k].transpose(0, 1), expected_BTH, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_its_derivative_is_right(name):
    assert torch.autograd.gradcheck(lambda *given: looped(name, *given), drawn(name))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_step_of_every_cell_that_names_it(name):
    """By each cell's own `step`, which takes stacked weights."""
    cells = [kind() for kind in registry.members("harness.cells").values() if kind().fused == name]
    wx, h, weight, bias = drawn(name)
    for cell in cells:
        weights, state, outputs = SimpleNamespace(weight_hh=weight, bias_hh=bias[:, None]), (h,), []
        for wx_KBG in wx.unbind(1):
            out, state = cell.step(weights, wx_KBG, state)
            outputs.append(out)
        torch.testing.assert_close(looped(name, wx, h, weight, bias), torch.stack(outputs), rtol=1e-12, atol=1e-14)
    assert cells or name == "rnn_relu"


def test_a_cell_has_a_loop_or_is_said_to_be_one_call():
    named = {cell.fused for name, kind in registry.members("harness.cells").items() if (cell := kind()).fused}
    assert named == {*LOOPS, *IN_ONE_CALL} and not LOOPS.keys() & {*IN_ONE_CALL}


@pytest.mark.parametrize("name", NAMES)
def test_where_only_the_last_step_is_answered_the_derivative_is_the_same(name):
    assert torch.autograd.gradcheck(lambda *given: looped(name, *given)[-1], drawn(name))
    wx, h, weight, bias = drawn(name)
    assert torch.autograd.gradcheck(lambda *given: looped(name, *given), (wx[:, :1], h, weight, bias))


@pytest.mark.parametrize(("name", "gates", "states"), [("lstm", 4, 2), ("gru", 3, 1)])
def test_trial_by_trial_each_is_torchs_own_module(name, gates, states):
    """Outputs, the states after the last step, and what arrives at every weight, input and state."""
    inputs = 5
    torch.manual_seed(0)
    shapes = [
        (K, B, T, inputs),
        *[(K, B, H)] * states,
        (K, gates * H, inputs),
        (K, gates * H, H),
        *[(K, gates * H)] * 2,
    ]
    given = [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes]
    out_TKBH, others = trial_by_trial(name, given[0], tuple(given[1 : 1 + states]), given[1 + states :])
    alike = [tensor.detach().clone().requires_grad_() for tensor in given]
    total = torch.zeros((), dtype=torch.float64)
    for k in range(K):
        x_BTD, *start, w_ih, w_hh, b_ih, b_hh = (tensor[k] for tensor in alike)
        module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[name](inputs, H, batch_first=True, dtype=torch.float64)
        weights = {"weight_ih_l0": w_ih, "weight_hh_l0": w_hh, "bias_ih_l0": b_ih, "bias_hh_l0": b_hh}
        begin = tuple(s[None] for s in start)
        out_BTH, end = torch.func.functional_call(module, weights, (x_BTD, begin if states > 1 else begin[0]))
        torch.testing.assert_close(out_TKBH[:, k].transpose(0, 1), out_BTH, rtol=1e-12, atol=1e-14)
        for other_KBH, expected in zip(others, end[1:] if states > 1 else (), strict=True):
            torch.testing.assert_close(other_KBH[k], expected[0], rtol=1e-12, atol=1e-14)
        total = total + (k + 1) * out_BTH.square().sum() + sum(e.sum() for e in (end[1:] if states > 1 else ()))
    scale_K = torch.arange(1.0, K + 1, dtype=torch.float64)
    ours = (out_TKBH.square().sum((0, 2, 3)) * scale_K).sum() + sum(other.sum() for other in others)
    for one, other in zip(torch.autograd.grad(ours, given), torch.autograd.grad(total, alike), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)
