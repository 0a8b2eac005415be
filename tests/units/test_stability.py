"""Decay, horizon, spikes and verdict: exponentials give their rate back, and each published rule decides alone."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stability import decay, horizon, spikes, verdict

rates = st.floats(0.3, 1.7).filter(lambda rate: abs(rate - 1) > 1e-3)
scales = st.floats(1e-6, 1e6)
lag_lists = st.lists(st.integers(0, 80), min_size=2, max_size=20, unique=True).map(sorted)


@given(rates, scales, lag_lists)
def test_an_exponential_gives_its_rate_and_its_horizon(rate: float, scale: float, lags: list[int]) -> None:
    norms = [scale * rate**lag for lag in lags]
    factor, far = decay(lags, norms)
    assert factor == pytest.approx(rate, rel=1e-9)
    expected = lags[0] + math.log(0.01) / math.log(rate) if rate < 1 else math.inf
    if expected > lags[-1] * (1 + 1e-9):
        assert far == math.inf
    elif expected < lags[-1] * (1 - 1e-9):
        assert far == pytest.approx(expected, rel=1e-6)


@given(lag_lists, st.lists(st.floats(1e-30, 1e30), min_size=20, max_size=20))
def test_slope_is_numpys_and_order_does_not_matter(lags: list[int], values: list[float]) -> None:
    norms = values[: len(lags)]
    slope = np.polyfit(lags, np.log(norms), 1)[0]
    factor, far = decay(lags, norms)
    assert factor == pytest.approx(math.exp(slope), rel=1e-6)
    assert decay(lags[::-1], norms[::-1]) == (factor, far)


@given(rates, scales, lag_lists, st.floats(1e-3, 1e3))
def test_the_unit_of_the_norm_does_not_matter(rate: float, scale: float, lags: list[int], unit: float) -> None:
    norms = [scale * rate**lag for lag in lags]
    before, after = decay(lags, norms), decay(lags, [unit * norm for norm in norms])
    assert after.factor == pytest.approx(before.factor, rel=1e-9)


def test_horizon_is_log_linear_between_measured_lags() -> None:
    assert horizon([0, 10], [1.0, 1e-4]) == pytest.approx(5)
    assert horizon([4, 8, 12], [1.0, 0.1, 0.001]) == pytest.approx(10)
    assert horizon([0, 1, 2], [1.0, 0.01, 5.0]) == 1  # first fall decides, also where it comes back
    assert horizon([0, 1, 2], [1.0, 0.0101, 0.0101]) == math.inf


def test_a_zero_is_gone_at_its_own_lag_and_has_no_part_in_the_slope() -> None:
    factor, far = decay([0, 16, 32, 48], [1.0, 0.5, 0.0, 0.0])
    assert far == 32
    assert factor == pytest.approx(0.5 ** (1 / 16))
    assert decay([0, 16], [1.0, 0.0]) == (0.0, 16)
    assert decay([1, 2], [0.0, 0.0]) == (0.0, 1)


def test_nothing_measured_says_nothing() -> None:
    assert all(math.isnan(value) for value in decay([], []))
    factor, far = decay([0], [3.0])
    assert math.isnan(factor) and far == math.inf
    assert math.isnan(horizon([0, 1], [1.0, math.nan]))


def test_numbers_at_the_ends_of_float_do_not_overflow() -> None:
    factor, far = decay([0, 1], [1e300, 1e-300])
    assert factor == 0.0 and 0 < far < 1
    assert decay([0, 1], [1e-300, 1e300]) == (math.inf, math.inf)
    assert decay([0, 1, 2], [1.0, math.inf, 1.0])[0] == 1.0


@pytest.mark.parametrize(
    ("norms", "p99", "expected"),
    [
        ([1.0, 0.5, 0.2], 2.0, "stable"),
        ([1.0, 0.5, 0.0101], 2.0, "stable"),
        ([1.0, 0.5, 0.0099], 2.0, "vanishing"),
        ([1.0, 0.5, 0.0], 2.0, "vanishing"),
        ([0.0, 0.0, 0.0], 2.0, "vanishing"),
        ([1.0, 0.001, 1.0], 2.0, "vanishing"),
        ([1.0, 5.0, 100.0], 2.0, "stable"),
        ([1.0, 5.0, 100.1], 2.0, "exploding"),
        ([1.0, math.inf, 1.0], 2.0, "exploding"),
        ([1.0, math.nan, 1.0], 2.0, "exploding"),
        ([1.0, 0.5, 0.2], 100.0, "stable"),
        ([1.0, 0.5, 0.2], 100.1, "exploding"),
        ([1.0, 0.5, 0.2], math.inf, "exploding"),
        ([1.0, 0.5, 0.001], 100.1, "exploding"),  # the first rule that holds decides
    ],
)
def test_each_rule_decides_at_its_threshold(norms: list[float], p99: float, expected: str) -> None:
    assert verdict("ok", [0, 16, 32], norms, 1.0, p99) == expected


def test_status_comes_before_the_numbers() -> None:
    assert verdict("diverged", [0, 1], [1.0, 1.0], 1.0, 1.0) == "diverged"
    assert verdict("diverged", [], [], math.nan, math.nan) == "diverged"
    assert verdict("failed", [0, 1], [1.0, 1.0], 1.0, 1.0) == "n/a"


def test_no_gradient_through_time_has_no_verdict_and_norms_may_be_missing() -> None:
    assert verdict("ok", [], [], 1.0, 500.0) == "n/a"
    assert verdict("ok", [0], [1.0], 1.0, 1.0) == "n/a"
    assert verdict("ok", [0, 1], [1.0, 1.0], math.nan, math.nan) == "stable"


@given(rates, scales)
def test_verdict_of_an_exponential_follows_from_its_rate(rate: float, scale: float) -> None:
    lags = list(range(0, 65, 8))
    total = rate ** lags[-1]
    if min(abs(total - 0.01), abs(total - 100)) < 1e-6:
        return
    expected = "exploding" if total > 100 else "vanishing" if total < 0.01 else "stable"
    assert verdict("ok", lags, [scale * rate**lag for lag in lags], 1.0, 1.0) == expected


@given(st.lists(st.floats(0, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf]), max_size=130))
def test_spikes_are_counted_as_the_rule_says(losses: list[float]) -> None:
    finite = [loss for loss in losses if math.isfinite(loss)]
    expected = [
        loss > 2 * np.median(finite[max(0, update - 50) : update]) for update, loss in enumerate(finite) if update >= 10
    ]
    assert spikes(losses) == sum(expected)


def test_a_spike_is_more_than_twice_the_median_and_no_trend_is_one() -> None:
    assert spikes([1.0] * 10 + [2.0]) == 0 and spikes([1.0] * 10 + [2.001]) == 1
    assert spikes([1.0] * 9 + [5.0]) == 0  # too early to say
    assert spikes([1.0] * 60 + [5.0, 1.0, 5.0] + [1.0] * 60) == 2
    assert spikes([1.02**k for k in range(500)]) == 0 == spikes([0.5**k for k in range(100)])
    assert spikes([1.0] * 20 + [math.inf, math.nan]) == 0 == spikes([])


def test_a_new_level_is_a_spike_until_the_window_has_seen_it() -> None:
    assert spikes([1.0] * 100 + [3.0] * 100) == 25  # then half of the 50 are new, and 3 < 2 x (1 + 3) / 2
    assert spikes([5.0] + [1.0] * 100) == 0
