"""All steps of a linear recurrence at once: h_t = a_t h_(t-1) + b_t in a depth that grows with log T.

Shape legend: see harness/cells/base.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def scan(a_BTH: Tensor, b_BTH: Tensor, h_BH: Tensor) -> Tensor:
    """Return h of every step (B, T, H), started from `h_BH`.

    Two steps compose to one, (a', b') after (a, b) = (a' a, a' b + b'), so pairs are composed and half as many steps
    remain: about 2 T multiply-adds in 2 log2 T rounds (Blelloch, "Prefix sums and their applications", 1990).
    Only products of a are formed, never logarithms or quotients: for |a| <= 1 nothing can overflow, and a product
    that underflows to 0 is a state that is forgotten.
    """
    out: Tensor = _Scan.apply(a_BTH, b_BTH, h_BH)
    return out


class _Scan(torch.autograd.Function):
    """The gradient of a linear recurrence is the same recurrence run backward: g_t = dL/dh_t + a_(t+1) g_(t+1).

    So backward keeps a and h alone, not the log T rounds; it is itself a scan, hence differentiable again.
    """

    @staticmethod
    def forward(a_BTH: Tensor, b_BTH: Tensor, h_BH: Tensor) -> Tensor:
        first_B1H = b_BTH[:, :1] + a_BTH[:, :1] * h_BH[:, None]
        return _compose(a_BTH, torch.cat([first_B1H, b_BTH[:, 1:]], 1))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        a_BTH, _, h_BH = inputs
        ctx.save_for_backward(a_BTH, h_BH, output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a_BTH, h_BH, out_BTH = ctx.saved_tensors
        # a_(t+1) in reversed order; what stands first there meets a start of zero and does not matter
        later_BTH = torch.cat([a_BTH[:, :1], a_BTH[:, 1:].flip(1)], 1)
        g_BTH = scan(later_BTH, grads[0].flip(1), torch.zeros_like(h_BH)).flip(1)
        before_BTH = torch.cat([h_BH[:, None], out_BTH[:, :-1]], 1)
        return g_BTH * before_BTH, g_BTH, g_BTH[:, 0] * a_BTH[:, 0]


def _compose(a_BTH: Tensor, b_BTH: Tensor) -> Tensor:
    """The scan from zero: odd steps by recursion on composed pairs, then each even step from the odd one before it."""
    steps = b_BTH.shape[1]
    if steps == 1:
        return b_BTH
    half = steps // 2
    a0, a1, b0, b1 = a_BTH[:, ::2], a_BTH[:, 1::2], b_BTH[:, ::2], b_BTH[:, 1::2]
    odd = _compose(a1 * a0[:, :half], torch.addcmul(b1, a1, b0[:, :half]))
    even = torch.cat([b0[:, :1], torch.addcmul(b0[:, 1:], a0[:, 1:], odd[:, : b0.shape[1] - 1])], 1)
    pairs = torch.stack([even[:, :half], odd], 2).flatten(1, 2)
    return torch.cat([pairs, even[:, half:]], 1) if steps % 2 else pairs
