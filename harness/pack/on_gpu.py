"""Loops over time for K trials on a GPU, as in kernels.py: a launch forward and one back (on_chip.py).

What arrives at the recurrent weights is one batched product over all steps, after the loop. Products are as exact as
float32 is: each factor is cut in two, which tensor cores multiply (`tf32x3`). tests/units/test_on_gpu.py holds each
loop against the cell's own steps in float64; where there is no GPU, in Triton's interpreter.

Shape legend: see harness/cells/base.py.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd import Function

from harness.cells.base import State
from harness.pack import on_chip, on_chip_gated
from harness.pack.kernels import Loop

ROWS = 16
"""Sequences of a program: the least that a tensor core multiplies, for many programs fill a GPU, and each is the
quicker the less it does in a step."""
WARPS = 8
"""Of a program: with 4 the compiler runs out of registers at an LSTM of 64 units."""


def fits(gates: int, hidden: int, dtype: torch.dtype, room: int) -> bool:
    """Return whether so wide a cell finds `room`, in bytes of shared memory: for its weights, twice (float32 is cut in
    two, float64 laid out anew), and for blocks of a step. What the compiler takes is never more: 64 units fit on an
    H100, of an Elman network 128; tests/units/test_on_gpu.py compiles them."""
    wide = _wide(hidden)
    return dtype.itemsize * wide * (2 * gates * wide + (4 * gates + 2) * ROWS) <= room


def room(device: torch.device) -> int:
    """Return the most shared memory that one program may have, in bytes."""
    return int(triton.compiler.max_shared_mem(device.index or 0))


def _wide(hidden: int) -> int:
    return max(16, triton.next_power_of_2(hidden))


def _launch(kernel: Any, h_KBH: Tensor, far: int, steps: int, tensors: tuple[Tensor, ...], **how: bool) -> None:
    """Run a kernel for every trial and every ROWS of its rows."""
    trials, batch, hidden = h_KBH.shape
    exact = "tf32x3" if h_KBH.dtype == torch.float32 else "ieee"
    with torch.cuda.device(h_KBH.device) if h_KBH.is_cuda else nullcontext():
        grid = (trials, triton.cdiv(batch, ROWS))
        kernel[grid](
            *tensors, far, steps, batch, hidden, ROWS=ROWS, WIDE=_wide(hidden), EXACT=exact, **how, num_warps=WARPS
        )


def _begun(wx_KTBG: Tensor, h_KBH: Tensor) -> Tensor:
    """Room for the states after every step, with the first in its place."""
    states = wx_KTBG.new_empty(wx_KTBG.shape[1] + 1, *h_KBH.shape)
    states[0] = h_KBH
    return states


def _of_weight(pre_KTBG: Tensor, states: Tensor) -> Tensor:
    """Return the sum over steps and rows of what arrives at U h, times h."""
    return torch.bmm(pre_KTBG.flatten(1, 2).mT, states[:-1].transpose(0, 1).flatten(1, 2))


class _Simple(Function):
    """h' = act(wx + U h), act tanh or relu."""

    @staticmethod
    def forward(ctx: Any, wx_KTBH: Tensor, h_KBH: Tensor, weight_KHH: Tensor, rectified: bool) -> Tensor:
        wx_KTBH, weight_KHH = wx_KTBH.contiguous(), weight_KHH.contiguous()
        states, steps = _begun(wx_KTBH, h_KBH), wx_KTBH.shape[1]
        tensors = (wx_KTBH, weight_KHH, states)
        _launch(on_chip.simple_forward, h_KBH, states.stride(0), steps, tensors, RECTIFIED=rectified)
        ctx.save_for_backward(weight_KHH, states)
        ctx.rectified = rectified
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (weight_KHH, states), due_TKBH = ctx.saved_tensors, grads[0].contiguous()
        steps, trials, batch, hidden = due_TKBH.shape
        pre_KTBH, first = states.new_empty(trials, steps, batch, hidden), torch.empty_like(states[0])
        tensors = (due_TKBH[-1], weight_KHH, states[-1], pre_KTBH, first)
        _launch(on_chip.simple_backward, first, states.stride(0), steps, tensors, RECTIFIED=ctx.rectified)
        return pre_KTBH, first, _of_weight(pre_KTBH, states), None


class _Gated(Function):
    """r = s(wx_r + U_r h + d_r), z = s(wx_z + U_z h + d_z), n = tanh(wx_n + r (U_n h + d_n)), h' = n + z (h - n)."""

    @staticmethod
    def forward(ctx: Any, wx_KTBG: Tensor, h_KBH: Tensor, weight_KGH: Tensor, bias_KG: Tensor) -> Tensor:
        wx_KTBG, weight_KGH, bias_KG = wx_KTBG.contiguous(), weight_KGH.contiguous(), bias_KG.contiguous()
        states, gates_KTBG, steps = _begun(wx_KTBG, h_KBH), torch.empty_like(wx_KTBG), wx_KTBG.shape[1]
        across_n_KTBH = wx_KTBG.new_empty(*wx_KTBG.shape[:3], h_KBH.shape[2])
        tensors = (wx_KTBG, weight_KGH, bias_KG, states, gates_KTBG, across_n_KTBH)
        _launch(on_chip_gated.gated_forward, h_KBH, states.stride(0), steps, tensors)
        ctx.save_for_backward(weight_KGH, states, gates_KTBG, across_n_KTBH)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight_KGH, states, gates_KTBG, across_n_KTBH = ctx.saved_tensors
        due_TKBH, first, two = grads[0].contiguous(), torch.empty_like(states[0]), 2 * states.shape[-1]
        pre_KTBG, pre_n_KTBH = torch.empty_like(gates_KTBG), torch.empty_like(across_n_KTBH)
        tensors = (
            due_TKBH[-1], weight_KGH, states[-2], gates_KTBG, across_n_KTBH, pre_KTBG, pre_n_KTBH, first
        )  # fmt: skip
        _launch(on_chip_gated.gated_backward, first, states.stride(0), len(due_TKBH), tensors)
        past_KTBG = torch.cat([pre_KTBG[..., :two], pre_n_KTBH], -1)  # of U h + d
        return pre_KTBG, first, _of_weight(past_KTBG, states), past_KTBG.flatten(1, 2).sum(1)


class _LongShort(Function):
    """i, f, g, o of wx + U h, c' = s(f) c + s(i) tanh(g), h' = s(o) tanh(c'); returns every h and the last c."""

    @staticmethod
    def forward(ctx: Any, wx_KTBG: Tensor, h_KBH: Tensor, c_KBH: Tensor, weight_KGH: Tensor) -> tuple[Tensor, Tensor]:
        wx_KTBG, weight_KGH, steps = wx_KTBG.contiguous(), weight_KGH.contiguous(), wx_KTBG.shape[1]
        states, cells, gates_KTBG = _begun(wx_KTBG, h_KBH), _begun(wx_KTBG, c_KBH), torch.empty_like(wx_KTBG)
        tensors = (wx_KTBG, weight_KGH, states, cells, gates_KTBG)
        _launch(on_chip_gated.lstm_forward, h_KBH, states.stride(0), steps, tensors)
        ctx.save_for_backward(weight_KGH, states, cells, gates_KTBG)
        return states[1:], cells[-1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight_KGH, states, cells, gates_KTBG = ctx.saved_tensors
        due_TKBH, due_c_KBH = (grad.contiguous() for grad in grads)
        first, first_c, pre_KTBG = (
            torch.empty_like(states[0]),
            torch.empty_like(states[0]),
            torch.empty_like(gates_KTBG),
        )
        tensors = (due_TKBH[-1], due_c_KBH, weight_KGH, cells[-1], gates_KTBG, pre_KTBG, first, first_c)
        _launch(on_chip_gated.lstm_backward, first, states.stride(0), len(due_TKBH), tensors)
        return pre_KTBG, first, first_c, _of_weight(pre_KTBG, states)


def _simple(rectified: bool) -> Callable[..., tuple[Tensor, State]]:
    def run(wx_KTBH: Tensor, state: State, weight_KHH: Tensor, _: None) -> tuple[Tensor, State]:
        return _Simple.apply(wx_KTBH, *state, weight_KHH, rectified), ()

    return run


def _gated(wx_KTBG: Tensor, state: State, weight_KGH: Tensor, bias_KG: Tensor) -> tuple[Tensor, State]:
    return _Gated.apply(wx_KTBG, *state, weight_KGH, bias_KG), ()


def _long_short(wx_KTBG: Tensor, state: State, weight_KGH: Tensor, _: None) -> tuple[Tensor, State]:
    out_TKBH, c_KBH = _LongShort.apply(wx_KTBG, *state, weight_KGH)
    return out_TKBH, (c_KBH,)


KIND = "Triton loop"
LOOPS = {
    "rnn_tanh": Loop(_simple(rectified=False), folds=True, kind=KIND),
    "rnn_relu": Loop(_simple(rectified=True), folds=True, kind=KIND),
    "gru": Loop(_gated, folds=False, kind=KIND),
    "lstm": Loop(_long_short, folds=True, kind=KIND),
}
"""By the name of torch's fused function of the same mathematics."""
