"""Scores on texts equal the reference implementations on the same outputs, however the outputs came in batches."""

from __future__ import annotations

import nltk
import numpy as np
import pytest
import sacrebleu
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from torchmetrics.functional.text import word_error_rate

from harness.models.scoring import score
from harness.models.text_scores import TEXT_SCORES, edit_distance
from harness.tasks.reversal import Reversal

WORDS = ["", "a", "man", "rides", "the", "horse", "Horse", ",", ".", "don't", "Fluß", "3.5"]


class Speaking(Reversal):
    """Written symbols that stand for words."""

    def said(self, answer: np.ndarray) -> str:
        return " ".join(WORDS[i] for i in answer)


class Heard(Speaking):
    """Answers as CTC gives them: no END, whose place the blank has."""

    mapping = "many-to-many"


symbols = st.lists(st.integers(1, len(WORDS) - 1), max_size=8)
texts = st.lists(st.integers(1, len(WORDS) - 1), min_size=1, max_size=8).map(
    lambda row: " ".join(WORDS[i] for i in row)
)
pairs = st.lists(st.tuples(symbols, st.lists(texts, min_size=1, max_size=3)), min_size=1, max_size=12)


def tokens(rows: list[list[int]], closed: bool = True) -> torch.Tensor:
    """Rows as a decoder gives them: closed by END, then nothing."""
    longest = max(map(len, rows)) + 1
    end = [0] if closed else []
    return torch.tensor([(row + end + [-1] * longest)[:longest] for row in rows])


def scored(name: str, rows: list[list[int]], references: list[list[str]], cut: int, kind: type = Speaking) -> float:
    found, targets = score(name, kind()), torch.zeros(len(rows), 1, dtype=torch.long)
    for part in (slice(0, cut), slice(cut, len(rows))):
        if rows[part]:
            found.update(tokens(rows[part], kind is Speaking), targets[part], references[part])
    return float(found.compute())


def said(rows: list[list[int]]) -> list[str]:
    return [Speaking().said(np.array(row, int)) for row in rows]


@given(pairs=pairs, cut=st.integers(0, 12))
@settings(deadline=None, max_examples=60)
def test_bleu_is_that_of_sacrebleu_over_the_whole(pairs, cut):
    rows, references = [list(x) for x in zip(*pairs, strict=True)]
    streams = [[r[i] if i < len(r) else None for r in references] for i in range(max(map(len, references)))]
    assert scored("bleu", rows, references, cut) == pytest.approx(sacrebleu.corpus_bleu(said(rows), streams).score)


def test_a_text_that_is_right_has_bleu_100_and_case_counts():
    row = [[1, 2, 3, 4, 5]]
    assert scored("bleu", row, [["a man rides the horse"]], 1) == pytest.approx(100)
    assert scored("bleu", row, [["a man rides the Horse"]], 1) < 80


@given(pairs=pairs, cut=st.integers(0, 12))
@pytest.mark.parametrize(("name", "kind"), [("rouge_1", "rouge1"), ("rouge_2", "rouge2"), ("rouge_l", "rougeL")])
@settings(deadline=None, max_examples=60)
def test_rouge_is_the_mean_of_that_of_googles_package_by_the_nearest_reference(name, kind, pairs, cut):
    rows, references = [list(x) for x in zip(*pairs, strict=True)]
    theirs = RougeScorer([kind], use_stemmer=True)
    each = [theirs.score_multi(known, text)[kind].fmeasure for text, known in zip(said(rows), references, strict=True)]
    assert scored(name, rows, references, cut) == pytest.approx(np.mean(each))


def test_rouge_reads_stems_takes_the_nearest_reference_and_downloads_nothing(monkeypatch):
    """ "a man rides the horse" against "riding a horse" ("ride a hors"): 3 of 5 and of 3 words, the order a, horse."""
    monkeypatch.setattr(nltk.data, "path", [])
    row, known = [[1, 2, 3, 4, 5]], [["nothing alike", "Riding, a HORSE!"]]
    assert scored("rouge_1", row, known, 0) == pytest.approx(2 * 3 / (5 + 3))
    assert scored("rouge_2", row, known, 0) == 0
    assert scored("rouge_l", row, known, 0) == pytest.approx(2 * 2 / (5 + 3))


def test_an_answer_without_words_has_no_rouge_and_nothing_distinct():
    for name in ("rouge_1", "rouge_2", "rouge_l"):
        assert scored(name, [[], [7, 8]], [["a man"], ["..."]], 1) == 0
    assert np.isnan(scored("distinct_1", [[], []], [[""], [""]], 1))


def test_distinct_counts_runs_of_all_answers_over_all_words():
    rows = [[1, 2, 3], [1, 2, 8], [6, 5, 9]]  # a man rides; a man .; Horse horse don't
    none = [[""]] * 3
    for cut in range(4):
        assert scored("distinct_1", rows, none, cut) == pytest.approx(6 / 9), "a man rides . horse don't"
        assert scored("distinct_2", rows, none, cut) == pytest.approx(5 / 9), "none of them from an answer to the next"


@given(rows=st.lists(symbols, min_size=1, max_size=9), cut=st.integers(0, 9), size=st.integers(1, 2))
@settings(deadline=None, max_examples=60)
def test_distinct_of_two_workers_is_that_of_one(rows, cut, size):
    halves = [score(f"distinct_{size}", Speaking()) for _ in range(2)]
    for half, part in zip(halves, (rows[:cut], rows[cut:]), strict=True):
        half.update(tokens(part or [[]]), torch.zeros(max(1, len(part)), 1, dtype=torch.long))
    halves[0].merge_state(halves[1])
    whole = scored(f"distinct_{size}", rows, [[""]] * len(rows), 0)
    assert float(halves[0].compute()) == pytest.approx(whole, nan_ok=True)


@given(pairs=st.lists(st.tuples(symbols, texts), min_size=1, max_size=12), cut=st.integers(0, 12))
@pytest.mark.parametrize("kind", [Speaking, Heard])
@settings(deadline=None, max_examples=60)
def test_the_word_error_rate_is_that_of_torchmetrics(kind, pairs, cut):
    rows, known = [list(x) for x in zip(*pairs, strict=True)]
    found = scored("word_error_rate", rows, [[text] for text in known], cut, kind)
    assert found == pytest.approx(float(word_error_rate(said(rows), known)))


@given(one=st.text("abc", max_size=7), other=st.text("abc", max_size=7), third=st.text("abc", max_size=7))
@settings(deadline=None, max_examples=100)
def test_edits_are_a_distance(one, other, third):
    d = edit_distance
    assert (d(one, other) == 0) == (one == other)
    assert abs(len(one) - len(other)) <= d(one, other) <= max(len(one), len(other))
    assert d(one, other) == d(other, one) <= d(one, third) + d(third, other)


def test_the_nearest_of_several_references_counts():
    references = [["a man", "a man rides the horse"], ["the horse", "horse the"]]
    rows = [[1, 2, 3, 4], [5, 4]]  # "a man rides the": 1 edit of 5; "horse the": none of 2
    assert scored("phone_error_rate", rows, references, 1) == pytest.approx(1 / 7)
    assert scored("pronunciation_error_rate", rows, references, 1) == pytest.approx(1 / 2)


def test_of_equally_near_references_the_longest_counts():
    assert scored("phone_error_rate", [[1, 2]], [["a", "a man rides"]], 0) == pytest.approx(1 / 3)


@pytest.mark.parametrize("name", TEXT_SCORES)
def test_what_is_written_after_the_end_does_not_count(name):
    ended, more = tokens([[1, 2]]), torch.tensor([[1, 2, 0, 3, 4]])
    values = []
    for answers in (ended, more):
        each = score(name, Speaking())
        each.update(answers, torch.zeros(1, 1, dtype=torch.long), [["a man"]])
        values.append(float(each.compute()))
    assert values[0] == values[1]


def test_without_references_the_target_is_the_one():
    found = score("word_error_rate", Speaking())
    found.update(tokens([[1, 2, 3]]), torch.tensor([[1, 2, 4, 0, -100]]))
    assert float(found.compute()) == pytest.approx(1 / 3)
