"""Loops over time for K trials at once, in torch's batched products, each with its backward pass written out; and
torch's own fused functions, trial by trial, where those are quicker.

A loop is for cells of the same mathematics as one of torch's fused functions, whose names are the keys of LOOPS. A step
is one batched product and the fewest element-wise operations, in place; what arrives at a weight is added up in one
more product a step, while its factors are still in the cache. tests/units/test_pack_kernels.py holds each against
torch's own function and against its derivative, in float64.

Shape legend: see harness/cells/base.py. What a loop reads is (K, T, B, G) and what it gives (T, K, B, H): each step of
each trial is one block in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from harness.cells.base import State
from harness.models.layer import fused

grad_of_tanh = torch.ops.aten.tanh_backward.grad_input
grad_of_relu = torch.ops.aten.threshold_backward.grad_input
grad_of_sigmoid = torch.ops.aten.sigmoid_backward.grad_input


class Loop(NamedTuple):
    """`run(wx_KTBG, state before the first step, weight_hh_KGH, bias_hh_KG) -> (outputs (T, K, B, H), the states beside
    h after the last step)`. `folds`: the recurrent bias is added to wx beforehand, for it stands beside the input's in
    every gate, and is given as None."""

    run: Callable[..., tuple[Tensor, State]]
    folds: bool
    kind: str = "Python loop"


def _arriving(grad_TKBH: Tensor) -> list[Tensor | None]:
    """What arrives at each output from outside of the loop; None where it is nothing: at all steps but the last where
    only that is answered, which saves each of them a pass over memory."""
    steps = len(grad_TKBH)
    if steps > 1 and grad_TKBH.device.type == "cpu" and float(grad_TKBH[:-1].abs().amax()) == 0:
        return [None] * (steps - 1) + [grad_TKBH[-1]]
    return [*grad_TKBH.contiguous().unbind(0)]


class _Simple(Function):
    """h' = act(wx + U h), act tanh or relu."""

    @staticmethod
    def forward(ctx: Any, wx_KTBH: Tensor, h_KBH: Tensor, weight_KHH: Tensor, rectified: bool) -> Tensor:
        trials, steps, batch, hidden = wx_KTBH.shape
        states = wx_KTBH.new_empty(steps + 1, trials, batch, hidden)
        states[0] = h_KBH
        at, across = states.unbind(0), weight_KHH.mT
        for t, wx_KBH in enumerate(wx_KTBH.unbind(1)):
            out_KBH = torch.baddbmm(wx_KBH, at[t], across, out=at[t + 1])
            out_KBH.relu_() if rectified else out_KBH.tanh_()
        ctx.save_for_backward(weight_KHH, states)
        ctx.rectified = rectified
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight_KHH, states = ctx.saved_tensors
        trials, batch, hidden = states.shape[1:]
        pre_KTBH = states.new_empty(trials, len(states) - 1, batch, hidden)
        at, pre, grad = states.unbind(0), pre_KTBH.unbind(1), _arriving(grads[0])
        of_weight, arrives = torch.zeros_like(weight_KHH), grads[0][-1]
        for t in range(len(pre) - 1, -1, -1):
            if ctx.rectified:
                grad_of_relu(arrives, at[t + 1], 0, grad_input=pre[t])
            else:
                grad_of_tanh(arrives, at[t + 1], grad_input=pre[t])
            of_weight.baddbmm_(pre[t].mT, at[t])
            if t:
                due = grad[t - 1]
                arrives = torch.bmm(pre[t], weight_KHH) if due is None else torch.baddbmm(due, pre[t], weight_KHH)
        first = torch.bmm(pre[0], weight_KHH) if ctx.needs_input_grad[1] else None
        return pre_KTBH, first, of_weight, None


class _Gated(Function):
    """r = s(wx_r + U_r h + d_r), z = s(wx_z + U_z h + d_z), n = tanh(wx_n + r (U_n h + d_n)), h' = n + z (h - n)."""

    @staticmethod
    def forward(ctx: Any, wx_KTBG: Tensor, h_KBH: Tensor, weight_KGH: Tensor, bias_KG: Tensor) -> Tensor:
        trials, steps, batch, wide = wx_KTBG.shape
        two = 2 * h_KBH.shape[2]
        states = wx_KTBG.new_empty(steps + 1, *h_KBH.shape)
        states[0] = h_KBH
        new_TKBH, gates_TKBG = torch.empty_like(states[1:]), wx_KTBG.new_empty(steps, trials, batch, wide)
        at, new, across, bias_K1G = states.unbind(0), new_TKBH.unbind(0), weight_KGH.mT, bias_KG[:, None]
        wx_r_z, wx_n = wx_KTBG[..., :two].unbind(1), wx_KTBG[..., two:].unbind(1)
        for t, gates_KBG in enumerate(gates_TKBG.unbind(0)):
            torch.baddbmm(bias_K1G, at[t], across, out=gates_KBG)
            gates_KBG[..., :two].add_(wx_r_z[t]).sigmoid_()
            reset, update, across_n = gates_KBG.chunk(3, -1)
            torch.addcmul(wx_n[t], reset, across_n, out=new[t]).tanh_()
            torch.lerp(new[t], at[t], update, out=at[t + 1])
        ctx.save_for_backward(weight_KGH, states, new_TKBH, gates_TKBG)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight_KGH, states, new_TKBH, gates_TKBG = ctx.saved_tensors
        steps, trials, batch, hidden = new_TKBH.shape
        two = 2 * hidden
        pre_KTBG = states.new_empty(trials, steps, batch, 3 * hidden)  # of U h + d
        pre_n_KTBH = states.new_empty(trials, steps, batch, hidden)  # of wx_n
        at, new, grad = states.unbind(0), new_TKBH.unbind(0), _arriving(grads[0])
        of_weight, arrives = torch.zeros_like(weight_KGH), grads[0][-1]
        for t in range(steps - 1, -1, -1):
            r_z, across_n = gates_TKBG[t].split([two, hidden], -1)
            reset, update = r_z.chunk(2, -1)
            pre_KBG, pre_n = pre_KTBG[:, t], pre_n_KTBH[:, t]
            pre_r, pre_z, pre_h = pre_KBG.chunk(3, -1)
            past = arrives * update
            grad_of_tanh(arrives - past, new[t], grad_input=pre_n)
            torch.mul(pre_n, across_n, out=pre_r)
            torch.mul(arrives, at[t] - new[t], out=pre_z)
            torch.mul(pre_n, reset, out=pre_h)
            grad_of_sigmoid(pre_KBG[..., :two], r_z, grad_input=pre_KBG[..., :two])
            of_weight.baddbmm_(pre_KBG.mT, at[t])
            arrives = torch.baddbmm(past, pre_KBG, weight_KGH)
            if t and (due := grad[t - 1]) is not None:
                arrives += due
        of_bias = pre_KTBG.flatten(1, 2).sum(1)
        return torch.cat([pre_KTBG[..., :two], pre_n_KTBH], -1), arrives, of_weight, of_bias


def _simple(rectified: bool) -> Callable[..., tuple[Tensor, State]]:
    return lambda wx_KTBH, state, weight_KHH, _: (_Simple.apply(wx_KTBH, *state, weight_KHH, rectified), ())


def _gated(wx_KTBG: Tensor, state: State, weight_KGH: Tensor, bias_KG: Tensor) -> tuple[Tensor, State]:
    return _Gated.apply(wx_KTBG, *state, weight_KGH, bias_KG), ()


LOOPS = {
    "rnn_tanh": Loop(_simple(rectified=False), folds=True),
    "rnn_relu": Loop(_simple(rectified=True), folds=True),
    "gru": Loop(_gated, folds=False),
}
"""By the name of torch's fused function of the same mathematics."""


def trial_by_trial(name: str, x_KBTD: Tensor, state: State, four: Sequence[Tensor]) -> tuple[Tensor, State]:
    """Call torch's fused function `name` once for each trial, with its block of the `four` stacked weights; return
    outputs (T, K, B, H) and the states beside h after the last step.

    An LSTM on a CPU is one call of oneDNN, which no loop of ours is as fast as; around it K trials still share all else
    of an update: K = 16 are 1.7 times as fast as alone at H=16, 1.5 times at H=32 (benchmarks/packed.py --cells lstm).
    """
    each = zip(x_KBTD, zip(*state, strict=True), zip(*four, strict=True), strict=True)
    found = [fused(name, x_BTD, start_BH, weights, True) for x_BTD, start_BH, weights in each]
    others = zip(*(ends for _, ends in found), strict=True)
    return torch.stack([out_BTH.transpose(0, 1) for out_BTH, _ in found], 1), tuple(map(torch.stack, others))
