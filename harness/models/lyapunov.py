"""The Lyapunov spectrum of a stack of recurrent layers: how fast small changes of its whole state grow or die.

    s_t = F(s_(t-1), x_t),   J_t = dF/ds at s_(t-1),   J_t Q_(t-1) = Q_t R_t,   exponent_i = mean over t of log|R_ii|

in nats per step, along the trajectory that real inputs drive. The state s is everything that every layer carries,
(h, c) of an LSTM, layer after layer, where a layer sees the new h of the one below: S = layers * states * H numbers.
Left out on purpose: an LSTM's h alone is not a state, and the spectrum of dh'/dh at a frozen c, which published code
computes (lyapunov-hyperopt: `lstm_jac`), misses the memory, the slowest directions of all.

Benettin et al., Meccanica 15 (1980); for networks Engelken, Wolf, Abbott, arXiv:2006.02427, and driven by data Vogt,
Puelma Touzel, Shlizerman, Lajoie, arXiv:2006.14123.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from harness.models.stack import Stack

Step = Callable[[Tensor, Tensor], Tensor]


class Spectrum(NamedTuple):
    """Exponents in nats per step, largest first, with the standard error of each over the sequences, and their steps.

    -inf is a dead direction: some step mapped it to zero (a relu that is off, a weight of zero). Arithmetic of 53 bits
    tells zero from small only so far: what one step shrinks S * 2^-52 times more than the fastest counts as dead.
    nan is a state that is not finite. The error is nan for one sequence, and for an exponent that is not finite.
    """

    exponents: Tensor
    errors: Tensor
    steps: int

    @property
    def predicted_decay(self) -> float:
        """Factor per step on a small change, and so, over many steps, on dL/dstate: exp of the largest exponent."""
        return float(self.exponents[0].exp()) if len(self.exponents) else float("nan")


def spectrum(stack: Stack, x_BTD: Tensor, count: int | None = None, skip: int = 0) -> Spectrum:
    """Return the `count` largest exponents (all S for None) of the stack driven by `x_BTD` from its zero state.

    The first `skip` steps let the state settle and the basis turn to the fast directions; the rest is averaged over
    steps, then over sequences. Every step must be real (no padding). float64, no dropout, no gradient, no draw from
    torch's generator; each sequence starts from the same random basis, so its answer does not depend on the batch.
    Exponents that no layer can have (a cell without states) are no exponents: the tensors are empty.

    The largest exponent is the rate at which |dL/dstate| decays or grows by lag, if the lag is long. It differs over
    finite lags: one loss is one vector, which must first turn to the leading direction, and may start across it; both
    are averages over the steps there are; and a norm over a batch is led by the sequence that decays slowest.
    """
    logs_BTk = growth(stack, x_BTD, count)[:, skip:]
    batch, steps, _ = logs_BTk.shape
    assert steps > 0, f"skip={skip} leaves none of {x_BTD.shape[1]} steps"
    each_Bk = logs_BTk.mean(1)
    mean, order = each_Bk.mean(0).sort(descending=True)
    many = batch > 1 and len(mean) > 0
    errors = each_Bk.std(0)[order] / batch**0.5 if many else torch.full_like(mean, torch.nan)
    return Spectrum(mean, errors, steps)


def growth(stack: Stack, x_BTD: Tensor, count: int | None = None) -> Tensor:
    """Return log|R_ii| (B, T, count) of each step, in nats; -inf where a direction dies."""
    assert stack.directions == 1, "a backward layer reads the future: two directions together have no one-step map"
    step, size = one_step(stack)
    batch, steps, _ = x_BTD.shape
    count = size if count is None else min(count, size)
    x_BTD = x_BTD.detach().double()
    if not count:
        return x_BTD.new_empty(batch, steps, 0)
    state_BS = x_BTD.new_zeros(batch, size)
    basis_BSk = _start(size, count).to(x_BTD.device).expand(batch, size, count)
    logs = []
    for x_BD in x_BTD.unbind(1):
        state_BS, pushed_BSk = push(step, state_BS, x_BD, basis_BSk)
        basis_BSk, r_Bkk = torch.linalg.qr(pushed_BSk)
        length_Bk = r_Bkk.diagonal(dim1=1, dim2=2).abs()
        # columns of R are as long as those of the product; rounding leaves up to S eps of the longest where it is zero
        noise_B1 = size * torch.finfo(torch.float64).eps * r_Bkk.norm(dim=1).amax(1, keepdim=True)
        alive_Bk = length_Bk.where(length_Bk > noise_B1, 0)
        logs.append(alive_Bk.log().where(state_BS.isfinite().all(1, keepdim=True), torch.nan))
    return torch.stack(logs, 1)


def push(step: Step, state_BS: Tensor, x_BD: Tensor, basis_BSk: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next state (B, S) and J times the basis (B, S, k), by k exact Jacobian-vector products.

    g(u) = J^T u is linear in u, so that its own reverse-mode derivative is J: twice backward is once forward. Measured
    (H=64, k=8, one thread) it takes 0.3 to 0.6 of the time of torch.func's vmap(jvp), whose first use costs another
    0.5 s and warns of torch's own deprecations.
    """
    directions_kBS = basis_BSk.permute(2, 0, 1)
    state_kBS = state_BS.expand_as(directions_kBS).clone().requires_grad_()
    with torch.enable_grad():
        new_kBS = step(state_kBS, x_BD)
        u_kBS = torch.zeros_like(new_kBS, requires_grad=True)
        (pulled_kBS,) = torch.autograd.grad(new_kBS, state_kBS, u_kBS, create_graph=True)
    (pushed_kBS,) = torch.autograd.grad(pulled_kBS, u_kBS, directions_kBS)
    return new_kBS[0].detach(), pushed_kBS.permute(1, 2, 0)


def one_step(stack: Stack) -> tuple[Step, int]:
    """Return the map (s_BS, x_BD) -> new s_BS of all layers together, in float64 and cut from the graph, and S."""
    layers = [layer for layer, *_ in stack.rows]
    weights = [
        SimpleNamespace(**{name: p.detach().double() for name, p in layer.named_parameters(recurse=False)})
        for layer in layers
    ]
    width = layers[0].hidden
    counts = [len(layer.cell.states) for layer in layers]

    def step(s_BS: Tensor, x_BD: Tensor) -> Tensor:
        before = iter(s_BS.split(width, -1))
        after: list[Tensor] = []
        for layer, w, states in zip(layers, weights, counts, strict=True):
            wx_BG = F.linear(x_BD, w.weight_ih, w.bias_ih)
            x_BD, new = layer.cell.step(w, wx_BG, tuple(next(before) for _ in range(states)))
            after += new
        return torch.cat(after, -1)

    return step, width * sum(counts)


def _start(size: int, count: int) -> Tensor:
    """A random orthonormal basis (S, k), always the same. Unit vectors would lie inside what layers keep apart."""
    draw_kS = np.random.default_rng(0).standard_normal((count, size))  # column by column: fewer are the first of more
    return torch.linalg.qr(torch.from_numpy(draw_kS).mT).Q
