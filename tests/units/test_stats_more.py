"""Interquartile mean, shares, expected best, profiles, seeds needed: closed forms, scipy, and simulated coverage."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness.stats.center import interquartile, interquartile_mean
from harness.stats.paired import paired
from harness.stats.power import seeds_needed
from harness.stats.profile import performance_profile
from harness.stats.share import share
from harness.stats.tries import expected_best, overtakes

finite = st.floats(-1e6, 1e6)


@given(st.lists(finite, min_size=1, max_size=5).map(lambda v: v * 4))
def test_of_a_multiple_of_four_it_is_scipys_trimmed_mean(values):
    assert interquartile_mean(values) == pytest.approx(scipy_stats.trim_mean(values, 0.25), abs=1e-6, rel=1e-9)


def test_parts_of_values_at_the_quartiles_count():
    assert interquartile_mean([0, 1, 2, 10]) == 1.5
    assert interquartile_mean([0, 1, 8]) == pytest.approx((0.25 * 0 + 1 + 0.25 * 8) / 1.5)
    assert interquartile_mean([7.0]) == 7 and math.isnan(interquartile_mean([]))


def test_lost_trials_are_cut_off_until_they_reach_the_middle_half():
    assert interquartile_mean([-math.inf, 1, 2, 3]) == 1.5
    assert interquartile_mean([-math.inf, -math.inf, 2, 3]) == -math.inf
    found = interquartile([-math.inf, 1, 2, 3, 4, 5, 6, 7])
    assert found.low == -math.inf and math.isfinite(found.center) and math.isfinite(found.high)


def test_few_seeds_have_no_interval_and_equal_values_an_equal_one():
    assert interquartile([1, 2, 3, 4])[1:] == (pytest.approx(math.nan, nan_ok=True),) * 2 + (0.0, 4)
    assert interquartile([1, 5, 2, 4, 3]) == interquartile([1, 5, 2, 4, 3])


DRAWS = {
    "normal": lambda rng, size: rng.normal(size=size),
    "skewed": lambda rng, size: rng.lognormal(0, 0.5, size),
    "accuracies": lambda rng, size: rng.beta(8, 2, size),
    "heavy tails": lambda rng, size: rng.standard_t(3, size),
}


@pytest.mark.parametrize("n", [5, 10, 20])
def test_bootstrap_intervals_cover_93_to_97_percent(n):
    rng, covered = np.random.default_rng(n), []
    for draw in DRAWS.values():
        many = np.sort(draw(rng, 400_000))
        truth = many[100_000:300_000].mean()
        found = [interquartile(row.tolist()) for row in draw(rng, (400, n))]
        covered += [f.low <= truth <= f.high for f in found]
    assert 0.93 - 0.01 <= np.mean(covered) <= 0.97 + 0.01  # 1,600 draws: a standard error of 0.5 %


@pytest.mark.parametrize(("count", "n"), [(0, 3), (3, 3), (1, 10), (5, 10), (17, 400)])
def test_the_interval_of_a_share_is_scipys(count, n):
    wanted = scipy_stats.binomtest(count, n).proportion_ci(0.95, "exact")
    found = share(count, n)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert found.share == count / n


@pytest.mark.parametrize("n", [3, 5, 10, 30])
def test_the_interval_of_a_share_covers_at_least_95_percent_whatever_it_is(n):
    """Exact over every outcome: what is counted cannot be covered with 95 % to the digit, so never with less."""
    found = [share(k, n) for k in range(n + 1)]
    for truth in np.linspace(0.001, 0.999, 333):
        ways = scipy_stats.binom(n, truth).pmf(range(n + 1))
        covered = sum(way for way, f in zip(ways, found, strict=True) if f.low <= truth <= f.high)
        assert covered >= 0.95 - 1e-12


def test_of_no_trial_a_share_says_nothing():
    assert share(0, 0)[2:4] == (0.0, 1.0) and math.isnan(share(0, 0).share)


def brute_best(tries: list[tuple[float, float]], k: int) -> float:
    chosen = [max(some, key=lambda pair: pair[0])[1] for some in itertools.combinations(tries, k)]
    return float(np.mean(chosen))


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=7, unique_by=lambda pair: pair[0]))
def test_expected_best_is_the_mean_over_every_choice_of_k(tries):
    found = expected_best(tries, True)
    assert found.expected == pytest.approx([brute_best(tries, k) for k in found.k], rel=1e-9, abs=1e-6)


def test_lower_is_better_mirrors_and_choice_is_by_validation_alone():
    tries = [(0.3, 30.0), (0.1, 10.0), (0.2, 99.0)]
    assert expected_best(tries, False).expected[-1] == 10.0
    flipped = [(-valid, test) for valid, test in tries]
    assert expected_best(tries, False).expected == expected_best(flipped, True).expected


def test_tries_that_tie_on_validation_share_their_places():
    assert expected_best([(1, 0.0), (1, 10.0)], True).expected == [5.0, 5.0]


def test_a_lost_try_weighs_as_long_as_it_can_be_chosen():
    tries = [(0.9, 0.8), (0.5, 0.4), (-math.inf, -math.inf)]
    assert expected_best(tries, True).expected == [-math.inf, pytest.approx((2 * 0.8 + 0.4) / 3), 0.8]


@pytest.mark.parametrize(("n", "k"), [(8, 1), (16, 2), (24, 3)])
def test_intervals_of_the_expected_best_cover_93_to_97_percent(n, k):
    rng, covered = np.random.default_rng(n), []
    for draw in (DRAWS["normal"], DRAWS["accuracies"]):
        truth = draw(rng, (200_000, k)).max(1).mean()
        for row in draw(rng, (300, n)):
            found = expected_best([(value, value) for value in row], True)
            covered.append(found.low[k - 1] <= truth <= found.high[k - 1])
    assert 0.92 <= np.mean(covered) <= 0.98  # 600 draws: a standard error of 0.9 %


def test_of_few_tries_or_many_of_them_no_interval_is_given():
    few = expected_best([(v, v) for v in range(7)], True)
    assert all(map(math.isnan, few.low + few.high))
    some = expected_best([(v, v) for v in range(12)], True)
    assert [math.isnan(v) for v in some.low] == [False] * 1 + [True] * 11


def test_the_budget_from_which_one_overtakes():
    steady = expected_best([(v, v) for v in (0.5, 0.5, 0.5, 0.5)], True)
    risky = expected_best([(v, v) for v in (0.1, 0.2, 0.8, 0.3)], True)
    assert risky.expected[0] < 0.5 < risky.expected[-1]
    k = overtakes(risky, steady, True)
    assert k is not None and risky.expected[k - 1] > 0.5 >= risky.expected[k - 2]
    assert overtakes(steady, risky, True) is None and overtakes(steady, steady, True) is None


def test_a_performance_profile_by_hand():
    errors = {"a": {"x": 1.0, "y": 4.0}, "b": {"x": 2.0, "y": 2.0}, "c": {"x": math.inf}}
    assert performance_profile(errors, [1, 2, 10]) == {"a": [0.5, 1, 1], "b": [0.5, 1, 1], "c": [0, 0, 0]}


def test_with_the_seeds_needed_the_test_finds_what_it_should():
    rng = np.random.default_rng(3)
    gains = rng.normal(0, 1, 200)
    gains = 0.8 * (1 + 0 * gains) + (gains - gains.mean()) / gains.std(ddof=1)  # an effect of exactly 0.8
    n = seeds_needed(gains.tolist())
    assert n is not None and 13 <= n <= 19
    zero = dict.fromkeys(range(n), 0.0)
    found = [paired(dict(enumerate(rng.normal(0.8, 1, n))), zero, True).p <= 0.05 for _ in range(1500)]
    assert 0.77 <= np.mean(found) <= 0.9


@pytest.mark.parametrize("gains", [[0.1, 0.2], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [math.inf, 1, 2], [1e-9, 1, -1]])
def test_where_nothing_can_be_said_nothing_is(gains):
    assert seeds_needed(gains) is None


def test_a_larger_effect_never_needs_more_seeds():
    """Far beyond what is needed scipy's noncentral t is no number: a search that looked there said 5,333 for 31."""
    shape = np.array([-1.0, -0.5, 0.0, 0.5, 1.0]) / np.std([-1.0, -0.5, 0.0, 0.5, 1.0], ddof=1)
    effects = np.arange(0.1, 4, 0.01)
    needed = [seeds_needed((effect + shape).tolist()) for effect in effects]
    assert needed == sorted(needed, reverse=True)
    for effect, n in zip(effects, needed, strict=True):
        assert n == pytest.approx(max(6, 7.85 / effect**2 * math.pi / 3), rel=0.1, abs=4)


def test_never_fewer_seeds_than_can_reach_significance():
    assert seeds_needed([10.0, 10.1, 10.2]) == 6
