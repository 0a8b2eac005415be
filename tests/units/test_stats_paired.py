"""Paired comparison: scipy's p, exact coverage, lost trials as the worst, and no finding where there is none."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness.stats.paired import MOST_EXACT, paired, signed_rank
from harness.stats.several import holm

scores = st.lists(st.floats(-100, 100, allow_subnormal=False), min_size=1, max_size=12)


def by_seed(values: object) -> dict[int, float]:
    return dict(enumerate(map(float, values)))  # type: ignore[call-overload]


def enumerated(gains: list[float]) -> float:
    """The same test by trying every choice of signs."""
    ranks = scipy_stats.rankdata(np.abs(gains))
    ranks, signs = ranks[np.array(gains) != 0], np.sign(gains)[np.array(gains) != 0]
    if not len(ranks):
        return 1.0
    seen = min(ranks[signs > 0].sum(), ranks[signs < 0].sum())
    sums = [np.dot(ranks, choice) for choice in itertools.product((0, 1), repeat=len(ranks))]
    return min(1.0, 2 * np.mean([value <= seen + 1e-9 for value in sums]))


@pytest.mark.parametrize("n", [3, 5, 6, 8, 10, 20, 40])
def test_p_is_scipys_where_no_ranks_tie(n):
    gains = np.random.default_rng(n).normal(0.3, 1, n)
    assert signed_rank(gains.tolist()) == pytest.approx(scipy_stats.wilcoxon(gains, method="exact").pvalue, rel=1e-12)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_ties_and_zeros_are_exact_too(gains):
    assert signed_rank(gains) == pytest.approx(enumerated(gains), abs=1e-12)


def test_many_pairs_are_normal_to_three_digits():
    gains = np.random.default_rng(0).normal(0.2, 1, MOST_EXACT + 1).tolist()
    exact = scipy_stats.wilcoxon(gains, method="exact").pvalue
    assert signed_rank(gains) == pytest.approx(exact, abs=2e-3)


def test_three_seeds_never_differ_significantly_and_six_must_agree():
    found = {n: paired(by_seed(range(1, n + 1)), by_seed([0] * n), True) for n in (3, 5, 6)}
    assert [found[n].p for n in (3, 5, 6)] == [0.25, 0.0625, 0.03125]
    assert [found[n].confidence for n in (3, 5, 6)] == [0.75, 0.9375, 0.96875]


@given(scores, st.data())
def test_the_other_way_round_is_the_mirror_image(one, data):
    other = data.draw(st.lists(st.floats(-100, 100, allow_subnormal=False), min_size=len(one), max_size=len(one)))
    there = paired(by_seed(one), by_seed(other), True)
    back = paired(by_seed(other), by_seed(one), True)
    lower = paired(by_seed(one), by_seed(other), False)
    assert (back.low, back.high, back.shift) == (-there.high, -there.low, -there.shift)
    assert (lower.low, lower.high) == (back.low, back.high)
    assert there.p == back.p and there.improvement == pytest.approx(1 - back.improvement)
    assert there.low <= there.shift <= there.high


def test_only_seeds_that_both_have_count():
    found = paired({0: 1.0, 1: 2.0, 7: 9.0}, {1: 1.0, 0: 0.5, 3: 100.0}, True)
    assert found.n == 2 and found.shift == 0.75 and found.improvement == 1
    assert paired({0: 1.0}, {1: 1.0}, True) == (pytest.approx(math.nan, nan_ok=True),) * 2 + (
        pytest.approx(math.nan, nan_ok=True), 0.0, 1.0, pytest.approx(math.nan, nan_ok=True), 0)  # fmt: skip


def test_a_lost_trial_is_worse_than_any_and_two_tie():
    lost = -math.inf
    found = paired(by_seed([lost] * 6), by_seed([0.1, 0.2, 0.3, 0.4, 0.5, lost]), True)
    assert found.shift == -math.inf and found.improvement == pytest.approx(0.5 / 6)
    assert paired(by_seed([lost] * 4), by_seed([lost] * 4), True).p == 1
    one = paired(by_seed([0.5, 0.6, lost, 0.7, 0.8, 0.9]), by_seed([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), True)
    assert one.low == -math.inf and math.isfinite(one.shift)


@pytest.mark.parametrize("n", [5, 6, 8, 10, 20])
def test_intervals_cover_93_to_97_percent(n):
    rng = np.random.default_rng(n)
    pairs = rng.normal(size=(2000, 2, n)) + 0.7 * rng.normal(size=(2000, 1, n))  # seeds that both feel
    found = [paired(by_seed(a + 0.3), by_seed(b), True) for a, b in pairs]
    assert 0.93 <= found[0].confidence <= 0.97
    assert np.mean([f.low <= 0.3 <= f.high for f in found]) == pytest.approx(found[0].confidence, abs=0.02)


@pytest.mark.parametrize("draw", ["normal", "exponential", "standard_cauchy"])
def test_no_difference_is_called_one_in_at_most_5_percent(draw):
    rng = np.random.default_rng(1)
    samples = getattr(rng, draw)(size=(2000, 2, 8))
    assert np.mean([paired(by_seed(a), by_seed(b), True).p <= 0.05 for a, b in samples]) <= 0.055


def test_among_many_comparisons_one_false_finding_in_at_most_5_percent():
    rng = np.random.default_rng(2)
    found = []
    for sample in rng.normal(size=(800, 6, 10)):
        found.append(min(holm([paired(by_seed(sample[0]), by_seed(row), True).p for row in sample[1:]])) <= 0.05)
    assert np.mean(found) <= 0.06


def test_holm_by_hand_and_never_above_bonferroni():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_the_plain_and_bonferronis(values):
    for plain, corrected in zip(values, holm(values), strict=True):
        assert plain <= corrected <= min(1.0, plain * len(values)) + 1e-15
