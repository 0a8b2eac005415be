"""The interval covers what it says: against scipy, against brute force, by simulation; the worst counts as worst."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness.stats import Summary, median, median_ranks, summary, worst

finite = st.floats(-1e9, 1e9)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 7, 8, 10, 11, 17, 30, 101, 1000])
@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95, 0.99])
def test_coverage_is_the_binomial_probability_of_scipy(n: int, confidence: float) -> None:
    low, high, coverage = median_ranks(n, confidence)
    binomial = scipy_stats.binom(n, 0.5)
    assert coverage == pytest.approx(binomial.cdf(high - 1) - binomial.cdf(low - 1), abs=1e-12)
    assert 1 <= low <= high <= n
    assert coverage >= confidence or (low, high) == (1, n)


@pytest.mark.parametrize("n", range(2, 26))
@pytest.mark.parametrize("confidence", [0.6, 0.9, 0.95, 0.99])
def test_no_narrower_pair_of_order_statistics_would_do(n: int, confidence: float) -> None:
    low, high, _ = median_ranks(n, confidence)
    binomial = scipy_stats.binom(n, 0.5)
    for i, j in itertools.combinations(range(1, n + 1), 2):
        if j - i < high - low:
            assert binomial.cdf(j - 1) - binomial.cdf(i - 1) < confidence


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_few_seeds_give_the_whole_range_and_its_exact_coverage(n: int) -> None:
    values = [float(v) for v in range(n)]
    center, low, high, coverage, count = summary(values, higher_is_better=True)
    assert (low, high, count) == (0, n - 1, n)
    assert center == np.median(values)
    assert coverage == (1 - 2 * 0.5**n if n > 1 else 0)


def test_three_seeds_cover_75_percent_and_six_are_needed_for_95() -> None:
    assert summary([1, 2, 3], True).confidence == 0.75
    assert summary(range(5), True).confidence == 0.9375
    assert summary(range(6), True) == Summary(2.5, 0, 5, 1 - 2 * 0.5**6, 6)
    assert summary(range(9), True)[1:3] == (1, 7)  # the textbook pair: second and second-last of nine


@pytest.mark.parametrize("n", [3, 6, 8, 12, 25])
@pytest.mark.parametrize("draw", ["normal", "exponential", "standard_cauchy"])
def test_simulated_coverage_is_the_coverage_promised(n: int, draw: str) -> None:
    rng = np.random.default_rng(n)
    truth = {"normal": 0.0, "exponential": math.log(2), "standard_cauchy": 0.0}[draw]
    samples = getattr(rng, draw)(size=(4000, n))
    summaries = [summary(row.tolist(), True) for row in samples]
    covered = np.mean([s.low <= truth <= s.high for s in summaries])
    promised = summaries[0].confidence
    assert abs(covered - promised) < 4 * math.sqrt(promised * (1 - promised) / 4000)


@given(st.lists(finite, min_size=1, max_size=40))
def test_median_is_numpys_and_lies_within(values: list[float]) -> None:
    result = summary(values, True)
    assert result.center == pytest.approx(np.median(values), rel=1e-12, abs=1e-12)
    assert result.low <= result.center <= result.high
    assert result.low in values and result.high in values


@given(st.lists(finite | st.sampled_from([math.nan, -math.inf]), min_size=1, max_size=40))
def test_turning_the_scale_round_mirrors_the_summary(values: list[float]) -> None:
    up, down = summary(values, True), summary([-v for v in values], False)
    assert (up.center, up.low, up.high) == (-down.center, -down.high, -down.low)
    assert (up.confidence, up.n) == (down.confidence, down.n)


@given(st.lists(finite, max_size=20), st.integers(0, 20), st.booleans())
def test_a_lost_trial_counts_as_the_worst(values: list[float], lost: int, higher: bool) -> None:
    bad = worst(higher)
    with_nan, with_worst = summary(values + [math.nan] * lost, higher), summary(values + [bad] * lost, higher)
    assert with_nan == with_worst or not values + [bad] * lost
    if lost > len(values):
        assert with_nan.center == bad
    if values and not lost:
        assert math.isfinite(with_nan.center)


def test_two_of_three_lost_is_a_lost_median_and_one_of_three_a_lost_end() -> None:
    assert summary([0.9, math.nan, math.nan], True) == Summary(-math.inf, -math.inf, 0.9, 0.75, 3)
    assert summary([0.9, 0.8, math.nan], True) == Summary(0.8, -math.inf, 0.9, 0.75, 3)
    assert summary([0.2, math.nan, 0.1], False) == Summary(0.2, 0.1, math.inf, 0.75, 3)
    assert summary([0.9, math.nan], True).center == -math.inf  # half of the seeds lost: no better than lost


def test_nothing_gives_nothing() -> None:
    center, low, high, confidence, n = summary([], True)
    assert math.isnan(center) and math.isnan(low) and math.isnan(high)
    assert (confidence, n) == (0, 0)
    assert math.isnan(median([])) and math.isnan(median([math.nan]))


def test_median_leaves_out_what_was_not_measured_and_keeps_infinity() -> None:
    assert median([3, math.nan, 1]) == 2
    assert median([math.inf, math.inf, 1]) == math.inf
    assert median([math.inf, math.inf]) == math.inf


def test_of_two_equally_narrow_intervals_the_pessimistic_one_is_taken() -> None:
    assert summary(range(8), True)[1:3] == (0, 6)  # ranks 1 and 7 of 8 cover 96.1 %, as do 2 and 8
    assert summary(range(8), False)[1:3] == (1, 7)
