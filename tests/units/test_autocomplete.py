"""Autocomplete: real text, split by file, with a floor that is counted."""

from __future__ import annotations

import math
import sysconfig
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data import read_library as library
from harness.engine import run_trial
from harness.errors import UserError
from harness.tasks.autocomplete import Autocomplete
from harness.tasks.base import SPLITS, Split
from harness.tasks.next_letter import NextLetter
from harness.trial import Trial

DOCUMENTS = ("joined", "files")
UNKNOWN = "\0"


def letters(task: Autocomplete, split: Split) -> list[str]:
    """The documents, read back from the symbols that go in and come out."""
    examples = task.load(split, 0)
    table = UNKNOWN + library.ALPHABET
    found = []
    for inputs, targets, length in zip(examples.inputs, examples.targets, examples.lengths, strict=True):
        assert (targets[: length - 1] == inputs[1:length]).all()
        assert (targets[length:] == -100).all()
        found.append("".join(table[i] for i in [*inputs[:length], targets[length - 1]]))
    return found


@pytest.mark.parametrize("documents", DOCUMENTS)
def test_what_is_read_is_source_code_of_this_python(documents: Any) -> None:
    task = Autocomplete(characters=20_000, documents=documents)
    for split, share in library.SHARES.items():
        found = letters(task, split)
        assert sum(map(len, found)) <= round(20_000 * share) and (len(found) == 1 or documents == "files")
        assert sum(map(len, found)) > round(20_000 * share) - 2
        names = [path for path in Path(sysconfig.get_paths()["stdlib"]).glob("*.py")]
        assert names and "import " in "".join(found)


def test_splits_share_no_file_and_none_is_a_test() -> None:
    files = library._files()
    parts = [set(files[split]) for split in SPLITS]
    assert len(set.union(*parts)) == sum(map(len, parts)) > 200
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in set.union(*parts):
        assert not set(path.relative_to(root).parts) & {"test", "tests", "site-packages", "idle_test"}
    assert len(parts[0]) > 3 * len(parts[1]) and len(parts[0]) > 3 * len(parts[2])


def test_the_vocabulary_is_known_without_loading_and_comes_from_training_alone() -> None:
    task = Autocomplete(characters=20_000)
    assert task.shape.vocabulary == task.shape.outputs == 98
    train, test = (task.load(split, 0) for split in ("train", "test"))
    assert set(np.unique(test.inputs)) <= set(np.unique(train.inputs)) | set(np.unique(train.targets)) | {0}


def test_a_character_that_training_lacks_is_unknown(tmp_path: Path) -> None:
    for split, text in (("train", "abc"), ("valid", "acb"), ("test", "abz")):
        (tmp_path / f"{split}.txt").write_text(text * 400)
    own = Autocomplete(data=str(tmp_path))
    unknown = {split: bool((own.load(split, 0).inputs == 0).any()) for split in ("train", "valid", "test")}
    assert unknown == {"train": False, "valid": False, "test": True}
    small = Autocomplete(characters=1_000)  # 800 characters of training lack many that are in the test split
    (train,) = library.texts("train", 1_000, True)
    seen = set(train)
    for split in ("valid", "test"):  # whether they have any that training lacks is up to the version of Python
        (raw,) = library.texts(split, 1_000, True)
        expected = "".join(c if c in seen and c in library.ALPHABET else UNKNOWN for c in raw)
        assert letters(small, split)[0] == expected


@pytest.mark.parametrize("documents", DOCUMENTS)
def test_the_floor_is_the_unigram_entropy_counted_character_by_character(documents: Any) -> None:
    task = Autocomplete(characters=5_000, documents=documents)
    counts = Counter(c for text in letters(task, "train") for c in text[1:])
    total = sum(counts.values()) + 98
    due = [c for text in letters(task, "test") for c in text[1:]]
    expected = -sum(math.log2((counts[c] + 1) / total) for c in due) / len(due)
    assert task.floor() == pytest.approx(expected, rel=1e-12)


def test_the_task_next_letter_asks_about_the_same_text_and_has_the_same_floor() -> None:
    text, task = Autocomplete(characters=20_000), NextLetter(characters=20_000, context=9, held_out_examples=200)
    assert task.floor() == pytest.approx(text.floor(), rel=1e-12)
    assert task.shape.vocabulary == text.shape.vocabulary
    for split in SPLITS:
        (whole,), asked = letters(text, split), task.load(split, 0)
        table = UNKNOWN + library.ALPHABET
        for inputs, target in zip(asked.inputs[:200], asked.targets[:200], strict=True):
            assert "".join(table[i] for i in [*inputs, target]) in whole


def test_data_is_the_same_whatever_the_seed() -> None:
    task = Autocomplete(characters=5_000)
    assert all(task.load(split, 0).sha256() == task.load(split, 1).sha256() for split in SPLITS)


def test_more_than_there_is_is_refused_with_what_there_is() -> None:
    message = r"characters: 1,000,000,000, but the train split .* has [\d,]+\n  allowed: 1,000 to about [\d,]+\n"
    with pytest.raises(UserError, match=message):
        library.texts("train", 10**9, joined=True)


def test_a_few_updates_are_better_than_the_floor() -> None:
    task = {"name": "autocomplete", "characters": 50_000}
    record = run_trial(
        Trial(task=task, cell={"name": "gru"}, hidden_size=32, tokens=60_000, bptt_length=16, learning_rate=0.02)
    )
    assert record.status == "ok", record.traceback
    assert record.metric == "bits_per_character" and not record.higher_is_better
    assert 2 < record.score < record.floor < math.log2(1 + len(library.ALPHABET))  # on 3.13 the files are others
    assert record.curve_valid_score[0] > record.valid_score
