"""Entities are read and scored as conlleval does, written here a second time after the script of the shared task."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.read_entities import entities, f1, matches
from harness.models.scoring import score
from harness.tasks.reversal import Reversal

TAGS = ["O", "B-per", "I-per", "B-loc", "I-loc"]


class Tagger(Reversal):
    """Classes that stand for tags."""

    mapping = "many-to-many"

    def said(self, answer: np.ndarray) -> str:
        return " ".join(TAGS[i] for i in answer)


def starts(before: str, tag: str) -> bool:
    """startOfChunk of conlleval.pl."""
    (p, _, ptype), (t, _, ttype) = before.partition("-"), tag.partition("-")
    return t == "B" or (t == "I" and p == "O") or (t != "O" and ptype != ttype)


def ends(before: str, tag: str) -> bool:
    """endOfChunk of conlleval.pl."""
    (p, _, ptype), (t, _, ttype) = before.partition("-"), tag.partition("-")
    return (p in "BI" and t in "BO") or (p != "O" and ptype != ttype)


def conlleval(answer: list[list[str]], due: list[list[str]]) -> float:
    """FB1 / 100 of conlleval.pl, its loop over lines kept: both columns side by side, a chunk right if it began with
    the right type and both end at once."""
    right = found = wanted = 0
    inside = False
    last_due = last_found = "O"
    for guesses, tags in zip(answer, due, strict=True):
        for guess, tag in zip([*guesses, "O"], [*tags, "O"], strict=True):
            if inside:
                both_end = ends(last_due, tag) and ends(last_found, guess)
                if both_end and last_found[2:] == last_due[2:]:
                    inside, right = False, right + 1
                elif ends(last_due, tag) != ends(last_found, guess) or guess[2:] != tag[2:]:
                    inside = False
            if starts(last_due, tag) and starts(last_found, guess) and guess[2:] == tag[2:]:
                inside = True
            wanted, found = wanted + starts(last_due, tag), found + starts(last_found, guess)
            last_due, last_found = tag, guess
    precision, recall = right / found if found else 0.0, right / wanted if wanted else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


rows = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=9), min_size=1, max_size=6
)


def words(row: list[int]) -> list[str]:
    return [TAGS[i] for i in row]


def padded(found: list[list[int]]) -> torch.Tensor:
    return torch.tensor([row + [-100] * (max(map(len, found)) - len(row)) for row in found])


@given(rows=rows, cut=st.integers(0, 6))
@settings(deadline=None, max_examples=300)
def test_the_score_is_that_of_conlleval_however_it_came_in_batches(rows, cut):
    answers, due = ([[pair[side] for pair in row] for row in rows] for side in (0, 1))
    found = score("entity_f1", Tagger())
    for part in (slice(0, cut), slice(cut, len(rows))):
        if rows[part]:
            found.update(padded(answers[part]), padded(due[part]))
    wanted = conlleval([words(row) for row in answers], [words(row) for row in due])
    assert float(found.compute()) == pytest.approx(wanted)


@given(row=st.lists(st.sampled_from(TAGS), max_size=12))
@settings(deadline=None)
def test_entities_cover_every_word_that_is_marked_once_and_have_one_type(row):
    covered = [place for _, begin, end in entities(row) for place in range(begin, end)]
    assert covered == [place for place, tag in enumerate(row) if tag != "O"]
    assert all(row[place].endswith(kind) for kind, begin, end in entities(row) for place in range(begin, end))


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("O O", []),
        ("B-per I-per O", [("per", 0, 2)]),
        ("B-per B-per", [("per", 0, 1), ("per", 1, 2)]),
        ("O I-per I-per", [("per", 1, 3)]),  # an I that follows no entity begins one
        ("B-per I-loc", [("per", 0, 1), ("loc", 1, 2)]),
        ("B-creative-work I-creative-work", [("creative-work", 0, 2)]),
    ],
)
def test_entities_of_tags(tags, found):
    assert entities(tags.split()) == found


def test_half_an_entity_or_another_type_is_wrong():
    due = ["B-per", "I-per", "O", "B-loc"]
    assert matches(["B-per", "O", "O", "B-per"], due) == (0, 2, 2)
    assert matches(["B-per", "I-per", "O", "O"], due) == (1, 1, 2) and f1(1, 1, 2) == pytest.approx(2 / 3)


def test_whoever_marks_nothing_scores_0():
    assert f1(0, 0, 5) == f1(0, 0, 0) == 0


def test_scores_of_classes_are_decided_by_the_largest():
    targets = torch.tensor([[1, 2, 0, -100]])
    found = score("entity_f1", Tagger())
    found.update(torch.eye(5)[torch.tensor([[1, 2, 0, 3]])], targets)
    assert float(found.compute()) == 1
