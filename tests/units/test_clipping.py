"""Clipping equals torch's, each kind does what its formula says, and what is not finite is left alone."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from trained import trial

from harness.errors import UserError
from harness.models.clipping import AGC_FLOOR, Clipped, clip
from harness.trial import CLIPPING

SHAPES = {
    "encoder.weight": (6, 4),
    "stack.layers.0.0.weight_ih": (12, 4),
    "stack.layers.0.0.bias_ih": (12,),
    "stack.layers.0.1.weight_ih": (12, 4),
    "stack.layers.1.0.weight_ih": (12, 8),
    "head.weight": (3, 8),
    "head.bias": (3,),
}
LAYERS = [("encoder",), ("stack.layers.0",), ("stack.layers.1",), ("head",)]
kinds = pytest.mark.parametrize("kind", CLIPPING)
limits = st.floats(1e-3, 1e3)
scales = st.floats(1e-4, 1e4)
Named = list[tuple[str, nn.Parameter]]


def drawn(scale: float, seed: int = 0) -> Named:
    """Weights around 0.1, one of them zero, with gradients around `scale`; in float32."""
    generator = torch.Generator().manual_seed(seed)
    named = [(name, nn.Parameter(0.1 * torch.randn(shape, generator=generator))) for name, shape in SHAPES.items()]
    for name, weight in named:
        weight.grad = scale * torch.randn(weight.shape, generator=generator)
        if name == "stack.layers.0.0.bias_ih":
            weight.data.zero_()
    return named


def grads(named: Named) -> list[Tensor]:
    return [p.grad.clone() for _, p in named if p.grad is not None]


def norm(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(float(t.detach().double().square().sum()) for t in tensors))


def clipped(named: Named, kind: str, limit: float) -> Clipped:
    return clip(named, trial(**{kind: limit}))


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@given(limit=limits, scale=scales, seed=st.integers(0, 9))
@settings(deadline=None, max_examples=50)
def test_the_global_norm_is_clipped_as_torch_does_to_the_bit(limit: float, scale: float, seed: int) -> None:
    ours, torchs = drawn(scale, seed), drawn(scale, seed)
    done = clipped(ours, "clip_norm", limit)
    before = nn.utils.clip_grad_norm_([p for _, p in torchs], limit)
    assert done.before == float(before)
    if done.clipped or done.before < limit - 1e-6:
        assert same(grads(ours), grads(torchs))
    else:
        assert limit - 1e-6 <= done.before <= limit * (1 + 2e-6)  # within rounding of the limit


@given(limit=limits, scale=scales, seed=st.integers(0, 9))
@settings(deadline=None, max_examples=50)
def test_values_are_clipped_as_torch_does_to_the_bit(limit: float, scale: float, seed: int) -> None:
    ours, torchs = drawn(scale, seed), drawn(scale, seed)
    clipped(ours, "clip_value", limit)
    nn.utils.clip_grad_value_([p for _, p in torchs], limit)
    assert same(grads(ours), grads(torchs))


@pytest.mark.parametrize("scale", [1e-3, 0.1, 10.0])
def test_each_layer_is_clipped_as_torch_does_to_it_alone(scale: float) -> None:
    ours, torchs = drawn(scale), drawn(scale)
    clipped(ours, "clip_layer_norm", 0.5)
    for (prefix,) in LAYERS:
        layer = [p for name, p in torchs if name.startswith(prefix)]
        assert layer
        if norm([p.grad for p in layer if p.grad is not None]) > 0.5:
            nn.utils.clip_grad_norm_(layer, 0.5)
    assert same(grads(ours), grads(torchs))


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0])
def test_adaptive_clipping_is_its_formula_unit_by_unit(scale: float) -> None:
    named, limit = drawn(scale), 0.05
    before = dict(zip(SHAPES, grads(named), strict=True))
    clipped(named, "clip_agc", limit)
    for name, weight in named:
        assert weight.grad is not None
        units = [(weight, weight.grad, before[name])]
        if weight.ndim == 2:
            units = list(zip(weight, weight.grad, before[name], strict=True))
        for w, after, g in units:
            allowed = limit * max(norm([w]), AGC_FLOOR)
            factor = 1.0 if name.startswith("head") else min(1.0, allowed / norm([g]))
            torch.testing.assert_close(after, g * factor, rtol=3e-6, atol=0)


@kinds
@given(limit=limits, scale=scales, seed=st.integers(0, 9))
@settings(deadline=None, max_examples=40)
def test_clipping_shrinks_reports_what_it_did_and_is_done_at_once(
    kind: str, limit: float, scale: float, seed: int
) -> None:
    named = drawn(scale, seed)
    before = grads(named)
    done = clipped(named, kind, limit)
    after = grads(named)
    assert done.before == pytest.approx(norm(before), rel=1e-5)
    assert done.after == pytest.approx(norm(after), rel=1e-5)
    assert norm(after) <= norm(before)
    assert done.clipped == (not same(before, after))
    again = clipped(named, kind, limit)
    assert not again.clipped and same(grads(named), after)


@pytest.mark.parametrize(("kind", "groups"), [("clip_norm", [tuple(SHAPES)]), ("clip_layer_norm", LAYERS)])
def test_a_norm_is_clipped_to_its_limit_and_keeps_its_direction(kind: str, groups: list[tuple[str, ...]]) -> None:
    named = drawn(10.0)
    before = grads(named)
    clipped(named, kind, 0.25)
    for prefixes in groups:
        pairs = [(a, b) for (n, _), a, b in zip(named, before, grads(named), strict=True) if n.startswith(prefixes)]
        old, new = (torch.cat([t.flatten().double() for t in side]) for side in zip(*pairs, strict=True))
        assert float(new.norm()) == pytest.approx(0.25, rel=1e-5)
        torch.testing.assert_close(new / new.norm(), old / old.norm(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", [None, *CLIPPING])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", [0, 2, 6])
def test_what_is_not_finite_is_named_and_nothing_is_touched(kind: str | None, bad: float, where: int) -> None:
    named = drawn(10.0)
    grad = named[where][1].grad
    assert grad is not None
    grad.view(-1)[1] = bad
    before = grads(named)
    done = clip(named, trial(**{kind: 0.1} if kind else {}))
    assert not done.finite and not done.clipped and not math.isfinite(done.after)
    assert all(torch.equal(a.isnan(), b.isnan()) for a, b in zip(before, grads(named), strict=True))
    assert same([t.nan_to_num() for t in before], [t.nan_to_num() for t in grads(named)])


def test_without_clipping_the_norm_is_still_told() -> None:
    named = drawn(10.0)
    before = grads(named)
    done = clip(named, trial())
    assert done == Clipped(done.before, done.before, False) and done.before == pytest.approx(norm(before), rel=1e-6)
    assert same(before, grads(named))


def test_a_gradient_of_zero_stays_zero() -> None:
    for kind in CLIPPING:
        named = drawn(0.0)
        assert clipped(named, kind, 1e-3) == Clipped(0.0, 0.0, False)
        assert all(not bool(g.any()) for g in grads(named))


def test_two_kinds_of_clipping_are_refused_with_both_names() -> None:
    trial(clip_agc=0.01).check()
    with pytest.raises(UserError, match=r"clip_norm: given together with clip_agc\n  allowed: one kind of clipping"):
        trial(clip_norm=1.0, clip_agc=0.01).check()


def test_a_label_says_which_kind() -> None:
    labels = [trial(**{kind: 0.5}).label for kind in CLIPPING]
    assert labels == [f"lstm-digits-bfull-{short}0.5-s0" for short in ("c", "cv", "cl", "ca")]
    assert trial().label == "lstm-digits-bfull-cnone-s0"
