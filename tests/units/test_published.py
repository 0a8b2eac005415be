"""Published numbers beside ours: a verdict follows from the record, and never claims more than the numbers hold."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import pytest
from report_records import record
from rich.console import Console

from harness import references, report
from harness.record import Record
from harness.references import Ledger
from harness.report import published, to_csv, to_html, to_markdown
from harness.report.build import build
from harness.trial import Trial

SAID = {"model": "LSTM", "metric": "accuracy", "value": 0.90, "cite": "Somebody 1997, Table 1", "verified": "seen"}


@pytest.fixture
def ledger(monkeypatch):
    """State what is published on the digits."""

    def state(*entries: dict[str, Any], **unpublished: str) -> None:
        found = Ledger(published=[{**SAID, **entry} for entry in entries], unpublished=unpublished)
        monkeypatch.setattr(published, "ledger", lambda task: found if task == "digits" else Ledger())

    return state


def trial(seed: int = 0, **settings: Any) -> Trial:
    plain = {"task": {"name": "digits", "steps": 64}, "cell": {"name": "lstm"}, "examples": 100}
    return Trial(**{**plain, "seed": seed, **settings}).normalised()


def records(*scores: float, settings: dict[str, Any] | None = None, **changes: Any) -> list[Record]:
    return [record(trial(i, **(settings or {})), score=s, parameters=1_000, **changes) for i, s in enumerate(scores)]


def held(found: list[Record]) -> list[published.Held]:
    (table,) = build("b", "", found, None).machines
    (group,) = table.groups
    return published.published(group)


@pytest.mark.parametrize(
    ("scores", "verdict", "why"),
    [
        ((0.85, 0.88, 0.91), "within", "reaches"),
        ((0.85, 0.88, 0.90), "within", "reaches"),
        ((0.92, 0.93, 0.95), "within", "whole interval is as good"),
        ((0.85, 0.88, 0.89), "short", "worse"),
        ((0.95,), "not comparable", "no interval"),
        ((0.50,), "not comparable", "no interval"),
    ],
)
def test_within_where_the_interval_reaches_the_value_and_short_where_all_of_it_is_worse(ledger, scores, verdict, why):
    ledger({})
    (one,) = held(records(*scores))
    assert one.verdict == verdict and why in one.why
    assert one.ours.center == pytest.approx(sorted(scores)[len(scores) // 2])


@pytest.mark.parametrize(("scores", "verdict"), [((3.4, 3.6, 3.5), "within"), ((3.6, 3.7, 3.8), "short")])
def test_where_lower_is_better_the_low_end_must_reach_it(ledger, scores, verdict):
    ledger({"metric": "cross_entropy", "value": 3.5})
    (one,) = held(records(*scores, metric="cross_entropy", higher_is_better=False))
    assert one.verdict == verdict


def test_the_worst_of_a_published_spread_suffices(ledger):
    ledger({"spread": (0.87, 0.93)}, {})
    wide, narrow = held(records(0.85, 0.86, 0.88))
    assert (wide.verdict, narrow.verdict) == ("within", "short")


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"like": {"bidirectional": True}}, "other model: bidirectional no, published yes"),
        ({"like": {"cell": "gru"}}, "other model: cell lstm, published gru"),
        ({"needs": {"protocol": {"task.steps": 8}}}, "other protocol: steps 64, published 8"),
        ({"needs": {"training data": {"task.phrases": True}}}, "other training data: phrases –, published yes"),  # noqa: RUF001
        ({"differs": {"split": "ten folds"}}, "other split: ten folds"),
        ({"metric": "word_error_rate"}, "other metric: ours is accuracy"),
        ({"parameters": 2_001}, "ours has 2 times fewer parameters"),
        ({"parameters": 499}, "ours has 2 times more parameters"),
        ({"verified": "recalled"}, "recalled, not checked"),
    ],
)
def test_what_is_not_the_same_question_is_not_comparable_however_good(ledger, entry, why):
    ledger(entry)
    (one,) = held(records(0.95, 0.96, 0.97))
    assert one.verdict == "not comparable" and why in one.why


def test_up_to_twice_the_size_is_the_same_size_and_an_unknown_one_is_said(ledger):
    ledger({"parameters": 2_000}, {"parameters": 500}, {"parameters": None})
    assert [one.verdict for one in held(records(0.95, 0.96))] == ["within"] * 3
    assert "size is not known" in held(records(0.95, 0.96))[2].why


def test_all_that_differs_is_said_at_once(ledger):
    ledger({"like": {"cell": "gru"}, "differs": {"data": "others"}, "verified": "recalled", "parameters": 9})
    (one,) = held(records(0.95))
    assert len(one.reasons) == 5


def test_trials_that_were_lost_count_and_a_lost_median_decides_nothing(ledger):
    ledger({})
    lost = {"status": "diverged", "score": math.nan}
    found = records(0.95, 0.96, 0.97)
    (one,) = held([found[0].replace(**lost), *found[1:]])
    assert one.verdict == "within" and math.isinf(one.ours.low)
    (two,) = held([r.replace(**lost) for r in found[:2]] + found[2:])
    assert two.verdict == "not comparable" and "lost" in two.why


def test_of_several_rows_the_most_alike_is_taken_then_the_best_on_validation_and_never_on_test(ledger):
    ledger({"like": {"cell": "lstm"}})
    good = records(0.99, 0.99, settings={"cell": {"name": "gru"}}, valid_score=0.99)
    lucky = records(0.95, 0.96, settings={"clip_norm": 1.0}, valid_score=0.5)
    chosen = records(0.80, 0.81, settings={"clip_norm": 2.0}, valid_score=0.6)
    (one,) = held([*good, *lucky, *chosen])
    assert one.row.variant.settings["clip_norm"] == 2.0 and one.verdict == "short"


def test_a_control_on_shuffled_targets_is_held_against_nothing(ledger):
    ledger({})
    assert held(records(0.95, 0.96, settings={"shuffled_targets": True})) == []


def test_a_score_besides_the_tasks_own_is_compared_by_its_own_values(ledger):
    ledger({"metric": "word_error_rate", "value": 0.2})
    found = records(0.5, 0.5, also_names=["word_error_rate"], also_scores=[0.15])
    (one,) = held(found)
    assert one.verdict == "within" and one.ours.center == 0.15


def test_every_format_shows_it_escaped_and_only_where_there_is_something(ledger, tmp_path):
    ledger({"cite": "=<b>Somebody | 1997", "protocol": "`x`"}, {"verified": "recalled"})
    found = build("b", "", records(0.95, 0.96), None)
    page, text, table = to_html.render(found), to_markdown.render(found), to_csv.render_published(found)
    assert "&lt;b&gt;Somebody" in page and "<b>Somebody" not in page + text
    assert "| within | our whole interval is as good (2 seeds, 50 %); the published size is not known |" in text
    lines = list(csv.DictReader(io.StringIO(table)))
    assert [line["verdict"] for line in lines] == ["within", "not comparable"]
    assert lines[0]["cite"].startswith("'=") and float(lines[0]["published"]) == 0.9
    assert "Published numbers: within, where" in page and "Published numbers: within, where" in text
    console = Console(width=200, file=io.StringIO())
    report.show(console, report.make("b", "", records(0.95, 0.96), None))
    shown = console.file.getvalue()
    assert "within 0.900 accuracy, LSTM (=<b>Somebody | 1997)" in shown and "1 published number not comparable" in shown
    paths = report.write(report.make("b", "", records(0.95, 0.96), None), tmp_path)
    assert paths["published"].name == "b-published.csv" and paths["published"].exists()


def test_why_nothing_is_published_is_said(ledger):
    ledger(all="nobody has asked")
    found = build("b", "", records(0.95, 0.96), None)
    assert "Nothing published: nobody has asked." in to_markdown.render(found)
    assert "Nothing: nobody has asked." in to_html.render(found)


def test_without_any_there_is_no_word_of_it(monkeypatch, tmp_path):
    monkeypatch.setattr(published, "ledger", lambda task: Ledger())
    found = build("b", "", records(0.95, 0.96), None)
    assert "ublished" not in to_markdown.render(found).replace("published thresholds", "")
    assert "published" not in report.write(report.make("b", "", records(0.95, 0.96), None), tmp_path)


def test_the_ledger_reads_groups_whose_words_hold_for_each_number():
    found = references.ledger("mnist").of({"data": "mnist", "steps": 784, "permuted": False})
    assert {(r.model, r.value, r.parameters) for r in found} >= {("LSTM", 0.872, 70_000), ("GRU", 0.962, 70_000)}
    assert not references.ledger("mnist").of({"data": "mnist", "steps": 28, "permuted": False})
    assert references.ledger("unheard-of") == Ledger()
    assert references.ledger("digits").why_none({"steps": 64})
