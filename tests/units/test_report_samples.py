"""Samples in a report: a few, short, as they are, and without a chance to be anything but text."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_records import grid, realistic, record

from harness.report import to_html, to_markdown
from harness.report.build import build
from harness.report.examples import ENOUGH_LINES, MOST_LINES, MOST_WIDTH, samples, short
from harness.report.words import in_lines

HOSTILE = "</pre><script>alert(1)</script> ```` \x1b[31m\u202e | **x** &amp; ]](y)"


def stored(*texts: str) -> str:
    return json.dumps([{"given": text, "wanted": "right", "got": "wrong"} for text in texts])


def both(kept: str) -> tuple[str, str]:
    trials = grid(1)
    found = build("quick", "", [record(trial, samples=kept) for trial in trials], trials)
    return to_markdown.render(found), to_html.render(found)


def test_the_best_rows_first_good_trial_speaks_and_says_who_it_is():
    records, trials = realistic()
    records = [r.replace(samples=stored(r.cell)) for r in records]
    (table,) = build("quick", "", records, trials).machines
    for group in table.groups:
        found = samples(group, lambda record: record.samples)
        assert found is not None and found.rows[0]["given"] == group.rows[0].variant.cell
        assert found.trial_id in found.caption and f"seed {found.seed}" in found.caption
        assert found.trial_id in {r.trial_id for r in group.rows[0].records if r.status == "ok"}


@pytest.mark.parametrize("text", [HOSTILE, "```", "~~~\n```\n`````", "a\n\nb", ""])
def test_a_hostile_text_is_shown_as_it_is_and_opens_nothing(text):
    markdown, page = both(stored(text))
    assert page.count("<script") == 1 and "<script>alert" not in page
    assert not set("\x1b\u202e") & set(markdown + page)
    fences = re.findall(r"^(`{3,})text\n(.*?)^\1$", markdown, re.MULTILINE | re.DOTALL)
    assert len(fences) == 2 and all("got     wrong" in inside for _, inside in fences)
    assert markdown.count("\n### How to read it") == 1


def test_a_picture_of_28_rows_is_whole_and_what_is_longer_is_cut():
    picture = "\n".join(["." * 28] * 28)
    assert short(picture) == picture
    cut = short("\n".join(["x" * 1_000] * 100)).split("\n")
    assert len(cut) == MOST_LINES + 1 and cut[-1] == "…" and all(len(line) <= MOST_WIDTH for line in cut)


def test_three_samples_at_most_and_fewer_where_they_are_long():
    few, _ = both(stored(*"abcdefg"))
    assert few.count("given   c") == 2 and "given   d" not in few  # two tasks
    pictures, _ = both(stored(*(f"{n}\n" + "\n".join(["."] * ENOUGH_LINES) for n in "abc")))
    assert pictures.count("given   a") == 2 and "given   b" not in pictures


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["", "[]", "{}", "not json", '[{"given": "x"}]', "3", "null", '["x"]'])
def test_a_record_without_samples_or_with_something_else_there_has_none(kept):
    for text in both(kept):
        assert "Samples on" not in text


@given(st.text(max_size=400))
def test_any_text_becomes_short_lines_without_controls(text):
    lines = in_lines([{"given": short(text)}])
    assert len(lines) <= MOST_LINES + 1 and all(len(line) <= MOST_WIDTH + 8 for line in lines)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "".join(lines))
