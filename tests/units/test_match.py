"""What is held equal: the size found is the nearest there is, of every kind, and the report ranks under each."""

from __future__ import annotations

import math

import pytest
from report_records import record

from harness import cost, spec
from harness.errors import UserError
from harness.match import Match, measure
from harness.report import to_html, to_markdown
from harness.report.build import build
from harness.report.ranked import agreement, rankings

TEXT = """\
question: Which cell?
seeds: [3, 5]
match: MATCH
set: {hidden_size: 16, examples: 1000}
sweep: {task: TASK, cell: [lstm, gru, elman, feedforward, mingru]}
"""


@pytest.fixture
def load(tmp_path):
    def loaded(match: str, task: str = "digits", more: str = "") -> spec.Benchmark:
        (tmp_path / "m.yaml").write_text(TEXT.replace("MATCH", match).replace("TASK", task) + more)
        return spec.load(tmp_path / "m.yaml")

    return loaded


@pytest.mark.parametrize("kind", ["parameters", "flops", "time", "{by: parameters, count: recurrent}"])
@pytest.mark.parametrize("task", ["digits", "reversal"])
def test_no_other_size_comes_nearer_to_the_budget(load, kind, task):
    benchmark = load(kind, task)
    (matched,) = benchmark.matched
    assert len(matched.fits) == 5 and len(benchmark.trials) == 10
    for trial in benchmark.trials[:5]:
        target = next(iter(matched.fits.values())).target
        nearby = [trial.hidden_size + step for step in (-1, 0, 1) if trial.hidden_size + step > 0]
        sizes = [trial.model_copy(update={"hidden_size": units}) for units in nearby]
        off = [abs(measure(other, matched.match) - target) for other in sizes]
        assert min(off) == abs(measure(trial, matched.match) - target)


def test_the_first_cell_keeps_its_size_and_the_budget_is_what_it_has(load):
    first = load("parameters").trials[0]
    assert first.cell["name"] == "lstm" and first.hidden_size == 16
    (matched,) = load("parameters").matched
    assert {fit.target for fit in matched.fits.values()} == {cost.parameters(first)}


def test_a_stated_budget_is_met_within_a_percent(load):
    (matched,) = load("{by: parameters, to: 70000}").matched
    assert all(abs(fit.mismatch) < 0.01 for fit in matched.fits.values())


def test_state_of_an_lstm_counts_twice_and_what_has_none_keeps_its_size(load):
    benchmark = load("state")
    sizes = {trial.cell["name"]: trial.hidden_size for trial in benchmark.trials}
    assert sizes == {"lstm": 16, "gru": 32, "elman": 32, "mingru": 32, "feedforward": 16}
    assert [math.isnan(fit.mismatch) for fit in benchmark.matched[0].fits.values()].count(True) == 1


def test_flops_are_six_a_weight_that_is_multiplied(load):
    trial = load("none").trials[0]
    gates, hidden, read, answers = 4, 16, 1, 10
    assert measure(trial, Match("flops")) == 6 * (gates * hidden * (read + hidden) + answers * hidden)
    assert measure(trial, Match("flops", count="recurrent")) == 6 * gates * hidden * (read + hidden)


def test_several_kinds_share_the_trials_that_they_agree_on(load):
    benchmark = load("[none, state]")
    assert len(benchmark.trials) == 2 * (5 + 3)
    assert [len(kind.fits) for kind in benchmark.matched] == [5, 5]


@pytest.mark.parametrize(
    ("match", "words"),
    [
        ("parametres", "parameters"),
        ("{by: parameters, to: 0}", "a number above 0"),
        ("{by: parameters, to: true}", "a number above 0"),
        ("{by: parameters, too: 5}", "to"),
        ("{parameters: 5000}", "try: match: {by: parameters, to: 5000}"),
        ("{by: parameters, count: some}", "all, recurrent"),
        ("{by: parameters, to: 3}", "a budget that it can come near"),
        ("3", "a mapping"),
    ],
)
def test_bad_matches_are_refused_with_what_is_allowed(load, match, words):
    with pytest.raises(UserError) as caught:
        load(match)
    assert words in str(caught.value) and "m.yaml" in str(caught.value)


def test_the_report_ranks_under_each_kind_and_says_whether_they_agree(load):
    benchmark = load("[{by: parameters, to: 5000}, state]")
    records = [record(trial) for trial in benchmark.trials]
    report = build("m", "Which?", records, benchmark.trials, (), benchmark.matched)
    (table,) = report.machines
    found = rankings(table, benchmark.matched)
    assert [(ranking.by, len(ranking.rows)) for ranking in found] == [("parameters", 5), ("numbers of state", 5)]
    ranked = [row.score.center for row in table.rows if row.variant.key in benchmark.matched[0].fits]
    assert ranked == sorted(ranked, reverse=True)
    assert len(agreement(found)) == 1 and "held equal" in agreement(found)[0]
    for text in (to_markdown.render(report), to_html.render(report)):
        assert "digits, parameters held equal" in text and "digits, numbers of state held equal" in text


def test_without_a_match_nothing_is_ranked_twice(load):
    benchmark = load("[]")
    records = [record(trial) for trial in benchmark.trials]
    assert "held equal" not in to_markdown.render(build("m", "Which?", records, benchmark.trials)).lower().replace(
        "held equal:", ""
    )
