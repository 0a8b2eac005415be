"""The step of K trials' optimisers at once: from memory to memory, each trial's rate and whether it goes among it.

torch's fused functions take the rate of a step, and which weights, from the host; those that it marks `capturable` take
the count of steps from memory, and one rate for all. Here rates, counts and a mask are vectors over the trials.

Shape legend: see harness/pack/stacked.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def where_going(going_K: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Put what is new, the second of each pair, in the place of the first, of the trials that go. All of it is computed
    before anything is written: what runs out of memory changes nothing."""
    new = [torch.where(going_K.view(-1, *[1] * (old.ndim - 1)), found, old) for old, found in pairs]
    for (old, _), found in zip(pairs, new, strict=True):
        old.copy_(found)


def adam(
    weights_KN: Tensor,
    grads_KN: Tensor,
    moments: Mapping[str, Tensor],
    count_K: Tensor,
    rate_K: Tensor,
    decay_K: Tensor,
    going_K: Tensor,
    how: Mapping[str, Any],
) -> None:
    """m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, w <- (1 - rate decay) w - rate m^ / (sqrt(v^) + eps), m^ and v^
    being m / (1 - b1^t) and v / (1 - b2^t): Kingma and Ba, arXiv:1412.6980; the decay Loshchilov and Hutter's,
    arXiv:1711.05101. Rates, decays and what follows of a count t are float64."""
    beta1, beta2 = how["betas"]
    first_KN, second_KN = moments["exp_avg"], moments["exp_avg_sq"]
    new_count_K = count_K + 1
    count = new_count_K.double()
    size_K1 = _column(rate_K / (1 - beta1**count), weights_KN)
    root_K1 = _column((1 - beta2**count).sqrt(), weights_KN)
    left_K1 = _column(1 - rate_K * decay_K, weights_KN)
    new_first_KN = first_KN.lerp(grads_KN, 1 - beta1)
    new_second_KN = (second_KN * beta2).addcmul_(grads_KN, grads_KN, value=1 - beta2)
    new_KN = weights_KN * left_K1 - size_K1 * new_first_KN / (new_second_KN.sqrt() / root_K1 + how["eps"])
    where_going(
        going_K,
        [(weights_KN, new_KN), (first_KN, new_first_KN), (second_KN, new_second_KN), (count_K, new_count_K)],
    )


def sgd(weights_KN: Tensor, grads_KN: Tensor, rate_K: Tensor, decay_K: Tensor, going_K: Tensor) -> None:
    """w <- w - rate (g + decay w)."""
    found = grads_KN + _column(decay_K, weights_KN) * weights_KN
    where_going(going_K, [(weights_KN, weights_KN - _column(rate_K, weights_KN) * found)])


def _column(value_K: Tensor, like: Tensor) -> Tensor:
    return value_K.to(like.dtype)[:, None]
