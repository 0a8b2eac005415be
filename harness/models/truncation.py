"""Truncation bias: what cutting backpropagation through time at k steps does to the gradient of one batch.

    cosine = g_k . g / (|g_k| |g|),   norm ratio = |g_k| / |g|

where g is the gradient of the whole sequence and g_k the one that windows of k steps (k1 = k2 = k) add up to, both
exact, on the same batch and weights. Cosine 1 and ratio 1: nothing is lost. Truncated BPTT is a biased estimate, and
the bias does not average out over batches (Tallec and Ollivier, arXiv:1705.08209; Aicher, Foti, Fox,
arXiv:1905.07473).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from harness.data.batches import Batch
from harness.models.base import Loss, Model, Windows
from harness.models.layer import Layer

MOST_WINDOWS = 32
"""`lengths_to_try` asks for no more windows of a sequence than this: each is a backward pass of its own."""


class Bias(NamedTuple):
    """The truncated against the full gradient, over the weights of the recurrent layers, and over all weights.

    The head's gradient is exact under any truncation, so the numbers over all weights look better than the layers'.
    A truncated gradient of zero has cosine 0 and ratio 0; a full one of zero, or one that is not finite, gives nan.
    """

    length: int
    cosine: float
    norm_ratio: float
    cosine_all: float
    norm_ratio_all: float


def truncation_bias(model: Model, batch: Batch, loss_of: Loss, lengths: Sequence[int]) -> list[Bias]:
    """Return the bias for each window length k >= 1 in `lengths`.

    Dropout is off: gradients through different windows draw different masks. A stream's batch is read from a zero
    state. A copy of the model does the work, so that training finds everything as it left it.
    """
    model = copy.deepcopy(model).eval()
    layers = [p for module in model.modules() if isinstance(module, Layer) for p in module.parameters(recurse=False)]
    batch = batch._replace(resets=None, advance=None)
    full = _gradient(model, batch, loss_of, None)
    # what carries no state has nothing to cut
    cut = [_gradient(model, batch, loss_of, length if model.remembers else None) for length in lengths]
    return [
        Bias(length, *_compare(found, full, layers), *_compare(found, full, full))
        for length, found in zip(lengths, cut, strict=True)
    ]


def lengths_to_try(steps: int, own: int | None) -> list[int]:
    """Powers of two below `steps` that need at most MOST_WINDOWS windows, and the trial's own length `own`."""
    doubled = {2**i for i in range(steps.bit_length()) if steps <= MOST_WINDOWS * 2**i}
    return sorted(length for length in doubled | ({own} if own else set()) if length < steps)


def _gradient(model: Model, batch: Batch, loss_of: Loss, length: int | None) -> dict[Tensor, Tensor]:
    """Weight to its gradient in float64, by the model's own windows."""
    for p in model.parameters():
        p.grad = None
    model.backward(batch, loss_of, Windows(length, None, watch=False), lambda loss: loss.backward())
    return {p: torch.zeros_like(p).double() if p.grad is None else p.grad.double() for p in model.parameters()}


def _compare(found: dict[Tensor, Tensor], full: dict[Tensor, Tensor], over: Iterable[Tensor]) -> tuple[float, float]:
    """Cosine and norm ratio over some of the weights."""
    f2 = cross = g2 = 0.0
    for p in over:
        f2 += float(found[p].square().sum())
        cross += float((found[p] * full[p]).sum())
        g2 += float(full[p].square().sum())
    if not (g2 > 0 and math.isfinite(f2) and math.isfinite(g2)):
        return math.nan, math.nan
    # sqrt(x * x) is x to the last bit, so equal gradients have cosine 1, not nearly 1
    cosine = cross / math.sqrt(f2 * g2) if f2 > 0 else 0.0
    return max(-1.0, min(1.0, cosine)), math.sqrt(f2 / g2)
