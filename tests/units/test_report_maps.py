"""Figures over settings, tries and tasks: each shows what the records hold, and none is drawn of too little."""

from __future__ import annotations

import itertools
import re

import pytest
from report_records import diverged, record

from harness.record import Record
from harness.report import to_html
from harness.report.build import build
from harness.report.plot_tries import effort, tries
from harness.trial import Trial


def swept(cells: tuple[str, ...] = ("elman", "lstm"), windows: tuple = (8, None), clips: tuple = (None, 1.0, 5.0)):
    """A plane of BPTT length and clip, on digits; an Elman net without a clip diverges on every second seed."""
    made = []
    for cell, window, clip, seed in itertools.product(cells, windows, clips, range(4)):
        given = {"task": {"name": "digits"}, "cell": {"name": cell}, "bptt_length": window, "clip_norm": clip}
        trial = Trial(**given, examples=1000, seed=seed).normalised()
        made.append(diverged(trial) if cell == "elman" and clip is None and seed % 2 else record(trial))
    return made


def page(records: list[Record]) -> str:
    return to_html.render(build("maps", "Where?", records, None))


def test_a_stability_map_has_a_tile_for_each_window_and_clip_with_what_was_lost():
    shown = page(swept())
    assert shown.count("<h4>Stability maps</h4>") == 1
    assert shown.count("0/4 lost") == 10 and shown.count("2/4 lost") == 2


def test_learning_rates_are_panels_of_their_own():
    rates = [r for rate in (0.01, 0.1) for r in map(lambda r, rate=rate: _at(r, rate), swept(cells=("lstm",)))]
    shown = page(rates)
    assert "lstm · learning rate 0.01" in shown and "lstm · learning rate 0.1" in shown


def _at(old: Record, rate: float) -> Record:
    trial = Trial(**old.settings()).model_copy(update={"learning_rate": rate})
    return record(trial)


def test_a_line_is_no_map():
    assert "Stability maps" not in page(swept(windows=(None,))) and "Stability maps" not in page(swept(clips=(None,)))


def test_expected_best_chooses_by_validation_and_counts_lost_tries_as_the_worst():
    records = [r.replace(valid_score=-r.score) if r.status == "ok" else r for r in swept(cells=("lstm", "gru"))]
    (group,) = build("maps", "Where?", records, None).machines[0].groups
    best = tries(group)["lstm"]
    scores = [r.score for r in records if r.cell == "lstm"]
    assert best.k[-1] == len(scores) == 24 and best.expected[-1] == min(scores)  # the best by validation is the worst
    (group,) = build("maps", "Where?", swept(), None).machines[0].groups
    lost = tries(group)["elman"]
    assert lost.expected[3] == -float("inf") < lost.expected[4]  # 4 of 24 were lost: of 5 one is not
    assert "Expected best of k tries" in page(swept())


def test_test_scores_change_no_choice():
    (group,) = build("maps", "Where?", swept(cells=("lstm", "gru")), None).machines[0].groups
    turned = [r.replace(score=1 - r.score) for r in swept(cells=("lstm", "gru"))]
    (other,) = build("maps", "Where?", turned, None).machines[0].groups
    for cell, best in tries(group).items():
        assert [1 - value for value in tries(other)[cell].expected] == pytest.approx(best.expected)


def test_cells_across_tasks_are_drawn_from_three_tasks_on():
    names = ("adding", "copying", "temporal-order", "delayed-recall")
    records = [
        record(Trial(task={"name": name}, cell={"name": cell}, examples=1000, seed=seed).normalised())
        for name, cell, seed in itertools.product(names, ("lstm", "gru"), range(2))
    ]
    assert "Cells across tasks" in page(records)
    assert "Cells across tasks" not in page([r for r in records if r.task in names[:2]])


def test_unequal_effort_is_said():
    table = build("maps", "Where?", swept(), None).machines[0]
    assert effort(table) == []
    few = [r for r in swept() if r.cell == "lstm" or r.settings()["clip_norm"] is None]
    (line,) = effort(build("maps", "Where?", few, None).machines[0])
    assert re.search(r"elman 2, lstm 6", line)
    assert "unequally many settings" in page(few)


def test_the_interquartile_mean_is_shown_from_five_seeds_on():
    few = [record(Trial(task={"name": "digits"}, cell={"name": "lstm"}, examples=1000, seed=s)) for s in range(6)]
    assert ">IQM<" in page(few) and ">IQM<" not in page(few[:4])
