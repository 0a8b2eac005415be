"""Texts: the Penn Treebank and Shakespeare as they are published, a user's own, and what is said of them."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.data import sources
from harness.data.read_text import UNKNOWN, characters, cut, numbered, own_text, penn_words, words
from harness.errors import UserError
from harness.models.scoring import score
from harness.tasks.autocomplete import Autocomplete
from harness.tasks.base import SPLITS

real = pytest.mark.data


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "own"
    folder.mkdir()
    for name, text in (("train", "the cat sat\nthe end\n"), ("dev", "the dog\n"), ("test", "a cat ran\n")):
        (folder / f"{name}.txt").write_text(text)
    return folder


def read(task: Autocomplete, split: Any) -> list[str]:
    """A split of one document, back from its numbers: what is read, and the last symbol, which is only due."""
    examples = task.load(split, 0)
    assert len(examples) == 1 and examples.lengths[0] == examples.inputs.shape[1]
    assert np.array_equal(examples.targets[0, :-1], examples.inputs[0, 1:])
    return [task.facts["symbols"][i] for i in [*examples.inputs[0], examples.targets[0, -1]]]


def first(error: pytest.ExceptionInfo[UserError]) -> str:
    return str(error.value.faults[0])


# as published


@real
def test_penn_treebank_by_word_has_the_published_counts():
    task = Autocomplete(data="ptb-word")
    assert [task.load(split, 0).inputs.shape[1] + 1 for split in SPLITS] == [929_589, 73_760, 82_430]
    assert task.shape.vocabulary == len(set(task.facts["symbols"])) == 10_000 and task.metric == "perplexity"
    counts = Counter(read(task, "train"))
    assert counts["<eos>"] == 42_068 and len(counts) == 10_000
    assert read(task, "test")[:6] == ["no", "it", "was", "n't", "black", "monday"]


@real
def test_penn_treebank_by_character_has_the_published_counts():
    task = Autocomplete(data="ptb-char")
    assert [task.load(split, 0).inputs.shape[1] + 1 for split in SPLITS][:2] == [5_017_482, 393_042]
    assert len(task.facts["symbols"]) == 50 + 1 and task.facts["symbols"][0] == UNKNOWN
    assert "".join(read(task, "test")[:31]) == "no_it_was_n't_black_monday\nbut_"
    assert not any((task.load(split, 0).targets == 0).any() for split in SPLITS), "a character that training lacks"


@real
def test_shakespeare_is_parted_by_position_and_the_parts_are_the_whole():
    task = Autocomplete(data="tinyshakespeare")
    parts = ["".join(read(task, split)) for split in SPLITS]
    whole = sources.read("tinyshakespeare", "input.txt").decode()
    assert "".join(parts) == whole and len(whole) == 1_115_394
    assert parts[2] == whole[int(0.9 * len(whole)) :], "nanoGPT's held-out text"
    assert len(task.facts["symbols"]) == 65 + 1 and task.metric == "cross_entropy"


@real
@pytest.mark.parametrize("data", ["ptb-word", "tinyshakespeare"])
def test_the_floor_is_counted_symbol_by_symbol(data: str):
    task = Autocomplete(data=data)
    train, test = (read(task, split)[1:] for split in ("train", "test"))
    counts, size = Counter(train), task.shape.vocabulary
    nats = -sum(math.log((counts[s] + 1) / (len(train) + size)) for s in test) / len(test)
    assert task.floor() == pytest.approx(math.exp(nats) if data == "ptb-word" else nats, rel=1e-9)


# a user's own


def test_own_texts_are_numbered_from_training_alone(own: Path):
    task = Autocomplete(data=str(own))
    assert task.facts["symbols"] == [UNKNOWN, *sorted(set("the cat sat\nthe end\n"))]
    assert read(task, "valid") == [*"the d", UNKNOWN, UNKNOWN, "\n"] and task.metric == "bits_per_character"
    task = Autocomplete(data=str(own), words=4)
    assert task.facts["symbols"] == ["<unk>", "<eos>", "the", "cat"] and task.metric == "perplexity"
    assert read(task, "test") == ["<unk>", "cat", "<unk>", "<eos>"]


def test_files_of_other_names_are_one_text_in_their_order(tmp_path: Path):
    for name, text in (("b.txt", "fghij" * 8), ("a.txt", "abcde" * 8), ("sub/c.txt", "k" * 20)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    parts = own_text(str(tmp_path))
    assert "".join(parts.values()) == "abcde" * 8 + "fghij" * 8 + "k" * 20
    assert [len(parts[split]) for split in SPLITS] == [80, 10, 10]


@given(st.text(min_size=1), st.tuples(st.floats(0.1, 0.8), st.floats(0.05, 0.1)))
def test_a_text_that_is_cut_stays_whole(text: str, shares: tuple[float, float]):
    parts = cut(text, (*shares, 1 - sum(shares)))
    assert "".join(parts[split] for split in SPLITS) == text


@given(st.text(), st.text(alphabet="abc\n\ud800\U0010ffff"))
def test_every_character_has_its_number_and_a_strange_one_that_of_the_unknown(train: str, text: str):
    known = characters(train)
    assert known[0] == UNKNOWN and [known[i] for i in numbered(train, known)] == list(train)
    assert [known[i] for i in numbered(text, known)] == [c if c in train else UNKNOWN for c in text]
    assert numbered(text, known).tolist() == numbered(list(text), known).tolist()


@given(st.lists(st.sampled_from(["<unk>", "!", "a", "b"])), st.integers(2, 9))
def test_the_unknown_word_is_always_known(train: list[str], most: int):
    known = words(train, most)
    assert known[0] == "<unk>" and len(known) <= most and len(set(known)) == len(known)
    rest = Counter(word for word in train if word != "<unk>")
    assert all(rest[a] >= rest[b] for a, b in itertools.pairwise(known[1:]))


def test_wrong_encodings_are_named_with_file_line_and_byte(own: Path):
    (own / "train.txt").write_bytes(b"fine\ncaf\xe9\n")
    (own / "dev.txt").write_bytes("naïve".encode("utf-16"))
    with pytest.raises(UserError) as error:
        own_text(str(own))
    said = [str(fault) for fault in error.value.faults]
    assert said[0] == f"{own}/dev.txt: line 1: byte 0 is no UTF-8\n  allowed: text, UTF-8"
    assert said[1].startswith(f"{own}/train.txt: line 2: byte 8 is no UTF-8") and len(said) == 2


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"train.txt": "abc", "test.txt": "abc"}, "no file for valid"),
        ({"train.txt": "abc", "valid.txt": "", "test.txt": "abc"}, "too few characters: train 3, valid 0, test 3"),
        ({"all.txt": ""}, "too few characters: train 0, valid 0, test 0"),
        ({"all.txt": "a" * 10}, "too few characters: train 8, valid 1, test 1"),
        ({}, "no file there"),
    ],
)
def test_too_little_text_is_refused(tmp_path: Path, texts: dict[str, str], message: str):
    folder = tmp_path / "own"
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text)
    with pytest.raises(UserError) as error:
        _ = Autocomplete(data=str(folder)).shape
    assert first(error).startswith(f"{folder}: {message}\n  allowed: ")


def test_a_text_of_spaces_has_too_few_words(own: Path):
    (own / "dev.txt").write_text("   ")
    with pytest.raises(UserError) as error:
        _ = Autocomplete(data=str(own), words=4).shape
    assert first(error) == f"{own}: too few words: train 7, valid 1, test 4\n  allowed: at least 2 in each split"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "ptb-word", "characters": 5_000}, "characters: has no meaning for data 'ptb-word'"),
        ({"data": "tinyshakespeare", "documents": "files"}, "documents: has no meaning"),
        ({"words": 5}, "words: has no meaning for data 'stdlib'"),
        ({"data": "./texts", "words": 1}, "words: 1 would know the unknown word alone"),
        ({"data": "tinyshakespear"}, "tinyshakespeare"),
    ],
)
def test_a_setting_that_has_no_meaning_is_refused(settings: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        Autocomplete(**settings)


# prompts


def test_a_prompt_is_read_as_the_text_was_and_said_again(own: Path):
    task = Autocomplete(data=str(own))
    asked = task.ask("the zoo")
    assert task.told(asked.inputs[0]) == f"the {UNKNOWN * 3}" and asked.lengths.tolist() == [7]
    assert (asked.targets == -100).all() and asked.targets.shape == asked.inputs.shape
    assert task.told(task.ask("").inputs[0]) == "\n"
    task = Autocomplete(data=str(own), words=6)
    assert [task.told(task.ask(text).inputs[0]) for text in ("the cat", "the cat\n")] == ["the cat", "the cat\n"]
    assert task.told(task.ask("").inputs[0]) == "\n" and task.told(task.ask("the\n\ncat").inputs[0]) == "the\n\ncat"


@real
def test_a_prompt_to_penn_treebank_by_character_has_spaces():
    task = Autocomplete(data="ptb-char")
    assert task.told(task.ask("the company said").inputs[0]) == "the company said"
    assert list(penn_words("a b\n\nc")) == ["a", "b", "<eos>", "<eos>", "c", "<eos>"]


# scores


@pytest.mark.parametrize("vocabulary", [7, 20_000])
def test_scores_are_those_of_the_formulas_however_large_the_vocabulary(vocabulary: int):
    """Perplexity = exp of the mean of -ln p, bits = the same over ln 2; what is not due counts nowhere."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 450, vocabulary, generator=generator)
    targets = torch.randint(0, vocabulary, (2, 450), generator=generator)
    targets[:, ::7] = -100
    nats = [
        float(torch.logsumexp(row.double(), 0) - row[place].double())
        for row, place in zip(logits.flatten(0, 1), targets.flatten().tolist(), strict=True)
        if place != -100
    ]
    mean = sum(nats) / len(nats)
    expected = {"cross_entropy": mean, "bits_per_character": mean / math.log(2), "perplexity": math.exp(mean)}
    for name, value in expected.items():
        for pieces in (1, 3):
            each = score(name, Autocomplete())
            for part, wanted in zip(logits.chunk(pieces, 1), targets.chunk(pieces, 1), strict=True):
                each.update(part, wanted)
            assert float(each.compute()) == pytest.approx(value, rel=1e-12)
