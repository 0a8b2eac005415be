"""Claims against records: paired by seed, judged exactly, and never settled by what is not known."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_records import ADDING, DIGITS, diverged, failed, record
from scipy import stats

from harness.claims import LEVEL, Claim, Compare, Finding, Linear, judge, line, sign_test
from harness.claims.measures import COUNTED, DERIVED, MEASURES, matches, setting
from harness.record import Record
from harness.trial import Trial

LSTM, ELMAN = {"cell": "lstm"}, {"cell": "elman"}


def trials(cell: str, seeds: int = 5, task: dict[str, Any] = DIGITS, **settings: Any) -> list[Trial]:
    return [Trial(task=task, cell={"name": cell}, examples=100, seed=seed, **settings) for seed in range(seeds)]


def held(check: Compare | Linear, records: list[Record], asked: list[Trial] | None = None) -> Finding:
    wanted = asked if asked is not None else [Trial.from_canonical(r.trial) for r in records]
    return judge(Claim("A claim.", "a source", tuple(wanted), (check,)), records)


def compared(
    one: list[float], other: list[float], relation: Any = "better", measure: str = "score", times: float = 1.0, **both
) -> Finding:
    """One against the other, a number a seed; of scores by `higher_is_better`."""
    sides = [*zip(trials("lstm", len(one)), one, strict=True), *zip(trials("elman", len(other)), other, strict=True)]
    found = [record(trial, **{measure: value}, **both) for trial, value in sides]
    return held(Compare(measure, relation, LSTM, ELMAN, times), found)


UP, DOWN = [0.8, 0.82, 0.84, 0.86, 0.88], [0.61, 0.62, 0.63, 0.64, 0.65]


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_sign_test_is_scipys(wins: int, losses: int) -> None:
    if wins + losses:
        expected = stats.binomtest(wins, wins + losses, 0.5, alternative="greater").pvalue
        assert sign_test(wins, losses) == pytest.approx(expected, rel=1e-12)
    else:
        assert sign_test(wins, losses) == 1


def test_five_seeds_that_agree_settle_and_four_do_not() -> None:
    assert sign_test(5, 0) <= LEVEL < sign_test(4, 0)
    assert compared(UP, DOWN).verdict == "holds"
    assert compared(DOWN, UP).verdict == "does not hold"
    assert compared(UP[:4], DOWN[:4]).verdict == compared(DOWN[:4], UP[:4]).verdict == "inconclusive"
    assert compared([0.9], [0.1]).verdict == "inconclusive"  # one seed has nothing to agree with


def test_the_evidence_reads_as_a_sentence() -> None:
    (words,) = compared(UP, DOWN).evidence
    assert words == "accuracy of lstm 0.840 against elman 0.630, better in 5 of 5 seeds (sign test p = 0.031)"
    (words,) = compared([*UP[:3], 0.1, 0.65], DOWN).evidence
    assert words.endswith("better in 3 of 5 seeds, worse in 1, equal in 1 (sign test p = 0.31)")


@pytest.mark.parametrize(
    ("relation", "higher", "one", "verdict"),
    [
        ("greater", True, UP, "holds"), ("greater", False, UP, "holds"), ("less", True, UP, "does not hold"),
        ("less", False, DOWN, "holds"), ("better", True, UP, "holds"), ("better", False, UP, "does not hold"),
        ("better", False, [v / 2 for v in DOWN], "holds"),
    ],
)  # fmt: skip
def test_each_relation_in_both_directions_of_the_metric(relation: str, higher: bool, one, verdict: str) -> None:
    other = UP if one is DOWN else DOWN
    assert compared(one, other, relation, higher_is_better=higher).verdict == verdict


def test_better_follows_the_task_that_is_asked_about_and_the_measure() -> None:
    """Two tasks in one claim: the first record says nothing about the second task's direction."""
    first = [record(t) for cell in ("lstm", "elman") for t in trials(cell)]
    mse = [record(t, score=0.01 * k) for k, cell in ((1, "lstm"), (2, "elman")) for t in trials(cell, task=ADDING)]
    sides = ({"task": "adding", **LSTM}, {"task": "adding", **ELMAN})
    finding = held(Compare("score", "better", *sides), first + mse)
    assert finding.verdict == "holds" and "mean squared error (adding) of lstm 0.0100" in finding.evidence[0]
    assert compared([2.0] * 5, [1.0] * 5, measure="activation_bytes").verdict == "does not hold"
    assert compared([2.0] * 5, [1.0] * 5, measure="tokens_per_second").verdict == "holds"


def test_times_raises_the_bar() -> None:
    values = [100.0, 110.0, 120.0, 130.0, 140.0], [40.0, 41.0, 42.0, 43.0, 44.0]
    assert compared(*values, "greater", "gradient_norm_p99", 2).verdict == "holds"
    assert compared(*values, "greater", "gradient_norm_p99", 4).verdict == "does not hold"
    finding = compared(*values, "greater", "gradient_norm_p99", 2.6)
    assert finding.verdict == "inconclusive"
    assert "greater than 2.6 times that in 4 of 5 seeds, not in 1" in finding.evidence[0]


def test_ties_count_for_neither_side() -> None:
    finding = compared([*UP, 0.5], [*DOWN, 0.5])
    assert finding.verdict == "holds" and ", equal in 1 (sign test p = 0.031)" in finding.evidence[0]
    assert compared([0.5] * 9, [0.5] * 9).verdict == "inconclusive"


def test_a_lost_trial_has_the_worst_score_whatever_it_carries() -> None:
    found = [diverged(t, score=0.99) for t in trials("lstm")[:1]] + [record(t, score=0.9) for t in trials("lstm")[1:]]
    found += [record(t, score=0.5) for t in trials("elman")]
    finding = held(Compare("score", "better", LSTM, ELMAN), found)
    assert finding.verdict == "inconclusive" and "better in 4 of 5 seeds, worse in 1" in finding.evidence[0]
    lost = [diverged(t) for t in trials("lstm")] + [record(t, score=0.5) for t in trials("elman")]
    finding = held(Compare("score", "better", LSTM, ELMAN), lost)
    assert finding.verdict == "does not hold" and "lstm lost against elman 0.500" in finding.evidence[0]
    both = [failed(t) for cell in ("lstm", "elman") for t in trials(cell)]
    assert held(Compare("score", "better", LSTM, ELMAN), both).verdict == "inconclusive"
    ok_without_a_number = compared([math.nan] * 5, DOWN)
    assert ok_without_a_number.verdict == "does not hold"


@pytest.mark.parametrize("measure", sorted(MEASURES.keys() - {"score"}))
@pytest.mark.parametrize("relation", ["greater", "less"])
def test_a_failed_trial_has_no_number_and_settles_nothing(measure: str, relation: Any) -> None:
    """Defaults of a record that measured nothing, 0 parameters say, are not measurements."""
    found = [record(t) for t in trials("lstm")] + [failed(t) for t in trials("elman")]
    finding = held(Compare(measure, relation, LSTM, ELMAN), found)
    assert finding.verdict == "inconclusive"
    assert (
        "against elman not known" in finding.evidence[0] and "not known in 5 (sign test p = 1)" in finding.evidence[0]
    )


@given(st.lists(st.sampled_from([math.nan, math.inf, 0.0, 1.0, 2.0]), min_size=10, max_size=10))
def test_nan_never_makes_a_claim_hold_and_counts_in_no_pair(values: list[float]) -> None:
    one, other = values[:5], values[5:]
    finding = compared(one, other, "greater", "gradient_decay")
    known = [(a, b) for a, b in zip(one, other, strict=True) if not math.isnan(a + b) or (a == b == math.inf)]
    wins, losses = sum(a > b for a, b in known), sum(a < b for a, b in known)
    expected = "holds" if (wins, losses) == (5, 0) else "does not hold" if (wins, losses) == (0, 5) else "inconclusive"
    assert finding.verdict == expected


def test_what_the_settings_decide_is_compared_as_it_is_and_nothing_else_is() -> None:
    assert COUNTED == ("parameters", "activation_bytes")
    for seeds in (1, 5):
        finding = compared([10] * seeds, [20] * seeds, "less", "parameters")
        assert finding.verdict == "holds" and finding.evidence[0].endswith("less: yes, the same on every seed")
        assert compared([20] * seeds, [20] * seeds, "less", "parameters").verdict == "does not hold"
        assert compared([30] * seeds, [20] * seeds, "less", "parameters").verdict == "does not hold"
    assert compared([1, 2], [3, 3], "less", "activation_bytes").verdict == "inconclusive"  # seeds do change it
    assert compared([0.5] * 2, [0.1] * 2, "greater", "gradient_decay").verdict == "inconclusive"


def test_divergence_is_a_share_of_seeds() -> None:
    found = [diverged(t) for t in trials("lstm")[:3]] + [record(t) for t in trials("lstm")[3:]]
    found += [record(t) for t in trials("elman")]
    finding = held(Compare("diverged", "greater", LSTM, ELMAN), found)
    assert finding.verdict == "inconclusive"  # 3 wins, 2 ties
    assert finding.evidence[0].startswith("share of diverged trials of lstm 60 % against elman 0 %, greater in 3 of 5")
    found[3:5] = [diverged(t) for t in trials("lstm")[3:]]
    assert held(Compare("diverged", "greater", LSTM, ELMAN), found).verdict == "holds"


def horizons(one: float, last: int, other: float) -> Finding:
    found = [record(t, gradient_horizon=one, gradient_lags=[0, last]) for t in trials("lstm")]
    found += [record(t, gradient_horizon=other, gradient_lags=[0, 63]) for t in trials("elman")]
    return held(Compare("gradient_horizon", "greater", LSTM, ELMAN), found)


def test_a_horizon_that_was_not_reached_is_only_known_from_below() -> None:
    assert horizons(math.inf, 31, 12.0).verdict == "holds"
    assert "horizon of lstm ≥ 31 steps against elman 12 steps" in horizons(math.inf, 31, 12.0).evidence[0]
    assert horizons(math.inf, 31, 40.0).verdict == "inconclusive"  # 31 or more: it may lie beyond 40
    assert horizons(math.inf, 31, math.inf).verdict == "inconclusive"
    assert horizons(40.0, 63, math.inf).verdict == "does not hold"


def test_time_is_read_from_trials_that_ended_well_and_after_the_warm_up() -> None:
    found = [record(t, update_seconds=[9.0, 0.2, 0.2], warmup_updates=1) for t in trials("lstm")]
    found += [record(t, update_seconds=[0.1] * 3) for t in trials("elman")]
    finding = held(Compare("seconds_per_update", "greater", LSTM, ELMAN, 1.5), found)
    assert finding.verdict == "holds" and "lstm 0.2 s against elman 0.1 s" in finding.evidence[0]
    found[0] = found[0].replace(status="diverged")
    assert held(Compare("seconds_per_update", "greater", LSTM, ELMAN), found).verdict == "inconclusive"


def grown(values: dict[int | None, list[float]], measure: str = "activation_bytes", **where: Any) -> Finding:
    """A measure by BPTT length."""
    found = []
    for window, per_seed in values.items():
        asked = trials("lstm", len(per_seed), bptt_length=window)
        found += [record(t, **{measure: v}) for t, v in zip(asked, per_seed, strict=True)]
    return held(Linear(measure, "bptt_length", {"cell": "lstm", **where}), found)


def test_growth_is_linear_where_a_straight_line_says_so() -> None:
    finding = grown({16: [2**20] * 5, 32: [2**21] * 5, 64: [2**22] * 5})
    assert finding.verdict == "holds"
    told = "activations of lstm by bptt length 16 to 64 (3 points): 1 MiB to 4 MiB, a straight line with R2 = 1.0000"
    assert finding.evidence == (told,)
    assert finding.results[0].numbers == {"points": 3, "slope": 2**16, "r2": pytest.approx(1)}
    for curved, verdict in ((lambda x: x**2, "inconclusive"), (lambda x: 2 ** (x / 4), "does not hold")):
        assert grown({x: [curved(x)] * 3 for x in (16, 32, 64)}).verdict == verdict
    assert grown({x: [99 - x] for x in (16, 32, 64)}).evidence[0].endswith("83 B to 35 B, no growth")
    assert grown({x: [-x + 99.0] for x in (16, 32, 64)}).verdict == "does not hold"
    assert grown({x: [7.0] for x in (16, 32, 64)}).verdict == "does not hold"  # constant


def test_a_setting_that_is_null_has_no_place_on_the_line() -> None:
    values = {16: [1.0], 32: [2.0], 64: [4.0], None: [1e9]}
    assert grown(values).verdict == "holds" and grown(values).results[0].numbers["points"] == 3


def test_too_few_points_or_a_hole_show_no_line() -> None:
    assert grown({16: [1.0], 32: [2.0]}).verdict == "inconclusive"
    assert "a number at 2 of 3 points" in grown({16: [1.0], 32: [2.0]}).evidence[0]
    assert grown({None: [1.0]}).verdict == "inconclusive"
    holed = grown({16: [1.0], 32: [2.0], 48: [math.nan], 64: [4.0]}, "gradient_norm_p99")
    assert holed.verdict == "inconclusive" and "a number at 3 of 4 points" in holed.evidence[0]
    assert grown({x: [math.inf] for x in (16, 32, 64)}, "gradient_norm_p99").verdict == "inconclusive"
    assert grown({16: [0], 32: [0], 64: [0]}).verdict == "inconclusive"  # never counted


@given(st.lists(st.tuples(st.integers(1, 999), st.floats(-1e6, 1e6)), min_size=3, max_size=9, unique_by=lambda p: p[0]))
def test_the_line_is_scipys(points: list[tuple[int, float]]) -> None:
    slope, r2 = line(points)
    if max(y for _, y in points) - min(y for _, y in points) > 1e-3:
        fit = stats.linregress([x for x, _ in points], [y for _, y in points])
        assert slope == pytest.approx(fit.slope, rel=1e-6, abs=1e-9) and r2 == pytest.approx(fit.rvalue**2, abs=1e-6)


def test_missing_trials_leave_it_open_and_say_how_many() -> None:
    asked = [*trials("lstm"), *trials("elman")]
    stored = [record(t) for t in asked[:7]]
    finding = held(Compare("score", "better", LSTM, ELMAN), [*stored, *stored], asked)
    assert (finding.verdict, finding.evidence) == ("inconclusive", ("7 of 10 trials are stored",))
    others = [record(t) for t in trials("gru")]
    assert held(Compare("score", "better", LSTM, ELMAN), others, asked).evidence == ("0 of 10 trials are stored",)


def test_a_claim_is_as_good_as_the_worst_of_its_checks() -> None:
    found = [record(t, score=0.9, parameters=1) for t in trials("lstm")]
    found += [record(t, score=0.1, parameters=1) for t in trials("elman")]
    yes, no = Compare("score", "better", LSTM, ELMAN), Compare("score", "less", LSTM, ELMAN)
    open_ = Compare("gradient_norm_p99", "greater", LSTM, ELMAN, 1.0)
    found = [r.replace(gradient_norm_p99=math.nan) for r in found]
    asked = tuple(Trial.from_canonical(r.trial) for r in found)

    def verdict(*checks: Compare) -> str:
        return judge(Claim("c", "s", asked, checks), found).verdict

    assert verdict(yes, yes) == "holds" and verdict(yes, open_) == "inconclusive"
    assert verdict(open_, no, yes) == "does not hold"
    told = judge(Claim("c", "s", asked, (yes, no)), found).evidence
    assert [line.split(": ")[0] for line in told] == ["holds", "does not hold"]


def test_a_selector_tells_true_from_one_and_absent_from_null() -> None:
    trial = trials("lstm", 1)[0].model_dump(mode="json")
    assert matches(trial, {"cell": "lstm", "task.steps": 64, "bptt_length": None, "bidirectional": False})
    for wrong in ({"layers": True}, {"bidirectional": 0}, {"task.missing": None}, {"missing": None}, {"cell": "gru"}):
        assert not matches(trial, wrong)
    assert setting(trial, "cell") == "lstm" and setting(trial, "task.steps") == 64


def test_every_measure_is_read_from_a_record_as_it_stands() -> None:
    assert DERIVED.keys() <= MEASURES.keys()
    for measure in MEASURES:
        found = [record(t) for cell in ("lstm", "elman") for t in trials(cell)]
        assert held(Compare(measure, "greater", LSTM, ELMAN), found).evidence[0]
