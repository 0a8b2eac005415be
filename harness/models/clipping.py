"""Gradient clipping that says what it did.

    clip_norm        g <- g min(1, v / (|g| + 1e-6)), |g| over all weights (Pascanu, Mikolov, Bengio, arXiv:1211.5063)
    clip_value       g_i <- min(max(g_i, -v), v) for each element (Mikolov, PhD thesis, Brno 2012)
    clip_layer_norm  as clip_norm, for each layer on its own: the encoder, each recurrent layer, the head
    clip_agc         g_u <- g_u min(1, v max(|w_u|, 1e-3) / |g_u|) for each unit u (Brock et al., arXiv:2102.06171)

A unit of AGC is a row of a matrix (one gate of one hidden unit, or one token's vector) or a whole vector (a bias). As
in the paper the head is left alone. The first two are torch's own functions, to the bit, wherever they act. What is
over its limit by less than rounding (1e-6 of it) is left as it is, so that clipping again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from harness.models.diagnose import owner
from harness.trial import Trial

ROUNDING = 1 + 1e-6
AGC_FLOOR = 1e-3
"""Weights of a unit count as at least this large, so that one that starts at zero can move."""


class Clipped(NamedTuple):
    """Global gradient norm before and after, and whether anything was changed."""

    before: float
    after: float
    clipped: bool

    @property
    def finite(self) -> bool:
        """False where any gradient is NaN or infinite: then nothing was clipped and no step may follow."""
        return self.before < float("inf")


def clip(parameters: Iterable[tuple[str, nn.Parameter]], trial: Trial) -> Clipped:
    """Clip the gradients of named parameters in place as the trial says, and report it.

    A non-finite norm leaves the gradients as they are: scaling by it would turn every one of them into NaN. Gradients
    must be those of the loss itself: a scaled loss (float16) is unscaled first.
    """
    named = [(name, p) for name, p in parameters if p.grad is not None]
    grads: list[Tensor] = [p.grad for _, p in named if p.grad is not None]
    norm = nn.utils.get_total_norm(grads)
    before = float(norm)
    if trial.clipping is None or not before < float("inf"):
        return Clipped(before, before, False)
    kind, limit = trial.clipping
    if kind == "clip_norm":
        clipped = _by_norm([p for _, p in named], norm, limit)
        return Clipped(before, before * limit / (before + 1e-6) if clipped else before, clipped)
    if kind == "clip_value":
        clipped = _by_value(grads, limit)
    elif kind == "clip_layer_norm":
        clipped = _by_layer(named, limit)
    else:
        clipped = _adaptively([p for name, p in named if owner(name) != "head"], limit)
    return Clipped(before, float(nn.utils.get_total_norm(grads)) if clipped else before, clipped)


def _by_norm(parameters: list[nn.Parameter], norm: Tensor, limit: float) -> bool:
    clipped = float(norm) > limit * ROUNDING
    if clipped:
        nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return clipped


def _by_value(grads: list[Tensor], limit: float) -> bool:
    clipped = bool(nn.utils.get_total_norm(grads, norm_type=float("inf")) > limit)
    if clipped:
        torch._foreach_clamp_min_(grads, -limit)
        torch._foreach_clamp_max_(grads, limit)
    return clipped


def _by_layer(named: list[tuple[str, nn.Parameter]], limit: float) -> bool:
    layers: dict[str, list[nn.Parameter]] = {}
    for name, parameter in named:
        layers.setdefault(owner(name), []).append(parameter)
    norms = [nn.utils.get_total_norm([p.grad for p in layer if p.grad is not None]) for layer in layers.values()]
    # a list, for every layer is to be clipped, not only the first that needs it
    return any([_by_norm(layer, norm, limit) for layer, norm in zip(layers.values(), norms, strict=True)])


def _adaptively(parameters: list[nn.Parameter], limit: float) -> bool:
    worst = []
    for parameter in parameters:
        grad = parameter.grad
        assert grad is not None
        allowed = limit * _unit_norms(parameter.detach()).clamp(min=AGC_FLOOR)
        ratio = _unit_norms(grad) / allowed
        grad.div_(torch.where(ratio > ROUNDING, ratio, 1))
        worst.append(ratio.max())
    return bool(worst) and float(torch.stack(worst).max()) > ROUNDING


def _unit_norms(values: Tensor) -> Tensor:
    """Norm over the inputs of each unit (units, 1), or of a whole vector."""
    return torch.linalg.vector_norm(values, dim=tuple(range(1, values.ndim)) or None, keepdim=True)
