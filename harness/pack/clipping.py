"""Clipping of K gradients at once, each by its own rule, without a look at any number (harness/models/clipping.py).

A trial that a rule is not for has an infinite limit there, and so has one whose gradient is not finite: nothing happens
to it. So the same operations serve every pack of the same rules, and a GPU is never waited for.

Shape legend: see harness/pack/stacked.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from harness.models.clipping import AGC_FLOOR, ROUNDING, Clipped
from harness.models.diagnose import owner

Rule = tuple[str, float]
Parts = Callable[[Tensor], dict[str, Tensor]]
"""Views of a row of numbers, or of K rows, in the shapes of the weights, by name."""


class Clips(NamedTuple):
    """Global norms before and after, in float64, and whether anything was changed: K of each."""

    before_K: Tensor
    after_K: Tensor
    clipped_K: Tensor

    def told(self) -> list[Clipped]:
        """The same for each trial, on the host."""
        return clipped(torch.stack(self).tolist())


def clipped(rows: Sequence[Sequence[float]]) -> list[Clipped]:
    """Return what is told of each trial, from the three rows of `Clips` on the host."""
    return [Clipped(before, after, bool(changed)) for before, after, changed in zip(*rows, strict=True)]


class Clipper:
    """Clips the rows of a matrix of gradients in place; made once for the trials of a pack."""

    def __init__(self, rules: Sequence[Rule | None], like: Tensor, parts: Parts) -> None:
        self.parts = parts
        kinds = sorted({rule[0] for rule in rules if rule is not None})
        self.limits = {
            kind: torch.tensor(
                [rule[1] if rule is not None and rule[0] == kind else math.inf for rule in rules],
                dtype=torch.float64, device=like.device,
            ) for kind in kinds
        }  # fmt: skip

    def __call__(self, grads_KN: Tensor, weights_KN: Tensor) -> Clips:
        """Clip every trial's gradient and say what that did."""
        norm_K = torch.linalg.vector_norm(grads_KN, dim=1).double()
        found = Clips(norm_K, norm_K, torch.zeros_like(norm_K))
        for kind, limits_K in self.limits.items():
            limit_K = torch.where(norm_K < math.inf, limits_K, math.inf)
            after_K, over_K = self._by(kind, grads_KN, weights_KN, norm_K, limit_K)
            found = Clips(norm_K, torch.where(over_K, after_K, found.after_K), found.clipped_K + over_K)
        return found

    def _by(
        self, kind: str, grads_KN: Tensor, weights_KN: Tensor, norm_K: Tensor, limit_K: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Clip by one rule; return the norms after it where it changed something, and where that is."""
        if kind == "clip_norm":
            return norm_K * limit_K / (norm_K + 1e-6), _by_norm(grads_KN, norm_K, limit_K)
        if kind == "clip_value":
            over_K = _by_value(grads_KN, limit_K)
        elif kind == "clip_layer_norm":
            over_K = self._by_layer(grads_KN, limit_K)
        else:
            over_K = self._adaptively(grads_KN, weights_KN, limit_K)
        return torch.linalg.vector_norm(grads_KN, dim=1).double(), over_K

    def _by_layer(self, grads_KN: Tensor, limit_K: Tensor) -> Tensor:
        layers: dict[str, list[Tensor]] = {}
        for name, part in self.parts(grads_KN).items():
            layers.setdefault(owner(name), []).append(part)
        over_K = torch.zeros_like(limit_K, dtype=torch.bool)
        for layer in layers.values():
            norms = torch.stack([torch.linalg.vector_norm(part.flatten(1), dim=1) for part in layer])
            norm_K = torch.linalg.vector_norm(norms, dim=0).double()
            for part in layer:
                beyond_K = _by_norm(part, norm_K, limit_K)
            over_K = over_K | beyond_K
        return over_K

    def _adaptively(self, grads_KN: Tensor, weights_KN: Tensor, limit_K: Tensor) -> Tensor:
        over_K, weights = torch.zeros_like(limit_K, dtype=torch.bool), self.parts(weights_KN)
        for name, grad in self.parts(grads_KN).items():
            if owner(name) != "head":
                limit = _rows(limit_K, grad)
                ratio = _unit_norms(grad) / (limit * _unit_norms(weights[name]).clamp(min=AGC_FLOOR))
                grad.div_(torch.where(ratio > ROUNDING, ratio, 1))
                over_K = over_K | (ratio.flatten(1).amax(1) > ROUNDING)
        return over_K


def _rows(value_K: Tensor, like: Tensor) -> Tensor:
    """One number for each trial, in the shape and dtype that goes with (K, ...)."""
    return value_K.to(like.dtype).view(-1, *[1] * (like.ndim - 1))


def _by_norm(grad: Tensor, norm_K: Tensor, limit_K: Tensor) -> Tensor:
    over_K = norm_K > limit_K * ROUNDING
    grad.mul_(_rows(torch.where(over_K, limit_K / (norm_K + 1e-6), 1.0), grad))
    return over_K


def _by_value(grads_KN: Tensor, limit_K: Tensor) -> Tensor:
    limit_K1 = _rows(limit_K, grads_KN)
    over_K = grads_KN.abs().amax(1) > limit_K1[:, 0]
    torch.clamp(grads_KN, -limit_K1, limit_K1, out=grads_KN)
    return over_K


def _unit_norms(values: Tensor) -> Tensor:
    """Norm over the inputs of each unit (K, units, 1), or of a whole vector (K, 1)."""
    return torch.linalg.vector_norm(values, dim=tuple(range(min(2, values.ndim - 1), values.ndim)), keepdim=True)
