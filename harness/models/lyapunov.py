"""The Lyapunov spectrum of a stack of recurrent layers: how fast small changes of its whole state grow or die.

    s_t = F(s_(t-1), x_t),   J_t = dF/ds at s_(t-1),   J_t Q_(t-1) = Q_t R_t,   exponent_i = mean over t of log|R_ii|

in nats per step, along the trajectory that real inputs drive. The state s is everything that every layer carries,
(h, c) of an LSTM, layer after layer, where a layer sees the new h of the one below: S = layers * states * H numbers.

Two directions have no one-step map in common, for a backward layer reads the future. Each direction of each layer is
a system of its own, driven by what it reads in its own order, and the spectrum is that of all of them. One direction
could be told the same way: its layers' Jacobian is block triangular, so it has the exponents of its layers.

Left out on purpose: an LSTM's h alone is not a state, and the spectrum of dh'/dh at a frozen c, which published code
computes (lyapunov-hyperopt: `lstm_jac`), misses the memory, the slowest directions of all.

Benettin et al., Meccanica 15 (1980); for networks Engelken, Wolf, Abbott, arXiv:2006.02427, and driven by data Vogt,
Puelma Touzel, Shlizerman, Lajoie, arXiv:2006.14123.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from harness.models.layer import Layer
from harness.models.stack import Stack, StackState, flip

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


class System(NamedTuple):
    """Layers that step together, what drives them (B, T, D) in the order in which they read, and their state (B, S)."""

    layers: Sequence[Layer]
    x_BTD: Tensor
    state_BS: Tensor


def spectrum(
    stack: Stack,
    x_BTD: Tensor,
    count: int | None = None,
    skip: int = 0,
    lengths_B: Tensor | None = None,
    start: StackState | None = None,
    most: int | None = None,
) -> Spectrum:
    """Return the `count` largest exponents (all for None) of the stack driven by `x_BTD` from `start` (None: zero).

    The first `skip` steps let the state settle and the basis turn to the fast directions; the rest is averaged over
    steps, then over sequences. `lengths_B` are real steps (None: all); as many are looked at as the shortest has, and
    at most `most`: from a sequence's start on, or, by a backward direction, back from its end. float64, no dropout, no
    gradient, no draw from torch's generator; each sequence starts from the same random basis, so its answer does not
    depend on the batch. A cell without states has none: the tensors are empty.

    The largest exponent is the rate at which |dL/dstate| decays or grows by lag, if the lag is long. It differs over
    finite lags: one loss is one vector, which must first turn to the leading direction, and may start across it; both
    are averages over the steps there are; and a norm over a batch is led by the sequence that decays slowest.
    """
    lengths_B = torch.full((len(x_BTD),), x_BTD.shape[1]) if lengths_B is None else lengths_B
    steps = min(int(lengths_B.min()), x_BTD.shape[1] if most is None else most)
    assert skip < steps, f"skip={skip} leaves none of {steps} steps"
    each = [growth(system, steps, count) for system in systems(stack, x_BTD, lengths_B, start)]
    each_Bk = torch.cat(each, 2)[:, skip:].mean(1)
    mean, order = (sorted_k[:count] for sorted_k in each_Bk.mean(0).sort(descending=True))
    many = len(x_BTD) > 1 and len(mean) > 0
    errors = each_Bk.std(0)[order] / len(x_BTD) ** 0.5 if many else torch.full_like(mean, torch.nan)
    return Spectrum(mean, errors, steps - skip)


@torch.no_grad()
def systems(stack: Stack, x_BTD: Tensor, lengths_B: Tensor, start: StackState | None = None) -> Iterator[System]:
    """Yield the layers together or, of a bidirectional stack, each direction of each layer; no dropout between."""
    states = stack.zero_state(len(x_BTD)) if start is None else start
    if stack.directions == 1:
        flat = [part for state in states for part in state]
        yield System([layer for layer, *_ in stack.rows], x_BTD, _flat(flat, x_BTD))
        return
    for index, row in enumerate(stack.rows):
        reads = [x_BTD, flip(x_BTD, lengths_B)]
        own = states[2 * index : 2 * index + 2]
        for layer, read_BTD, state in zip(row, reads, own, strict=True):
            yield System([layer], read_BTD, _flat(state, x_BTD))
        out = [layer(read, state, [x_BTD.shape[1]])[0] for layer, read, state in zip(row, reads, own, strict=True)]
        x_BTD = torch.cat([out[0], flip(out[1], lengths_B)], 2)


def _flat(parts: Sequence[Tensor], x_BTD: Tensor) -> Tensor:
    return torch.cat([x_BTD.new_empty(len(x_BTD), 0), *parts], 1).double()


def growth(system: System, steps: int, count: int | None = None) -> Tensor:
    """Return log|R_ii| (B, steps, count) of each of the first steps, in nats; -inf where a direction dies."""
    step, state_BS = one_step(system.layers), system.state_BS.detach()
    x_BTD, size = system.x_BTD[:, :steps].detach().double(), state_BS.shape[1]
    count = size if count is None else min(count, size)
    if not count:
        return x_BTD.new_empty(len(x_BTD), steps, 0)
    basis_BSk = _start(size, count).to(x_BTD.device).expand(len(x_BTD), size, count)
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


def one_step(layers: Sequence[Layer]) -> Step:
    """Return the map (s_BS, x_BD) -> new s_BS of layers that step together, in float64 and cut from the graph."""
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

    return step


def _start(size: int, count: int) -> Tensor:
    """A random orthonormal basis (S, k), always the same. Unit vectors would lie inside what layers keep apart."""
    draw_kS = np.random.default_rng(0).standard_normal((count, size))  # column by column: fewer are the first of more
    return torch.linalg.qr(torch.from_numpy(draw_kS).mT).Q
