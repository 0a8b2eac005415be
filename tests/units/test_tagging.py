"""Words and tags in columns: what is read of a file and of a word, what is refused, and what a tagger answers."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from harness import cost, registry
from harness.data.read_columns import bio, conll, conllu, sentences
from harness.engine import run_trial
from harness.errors import UserError
from harness.models.build import build_model
from harness.tasks._tagging import PARTS
from harness.tasks.base import SPLITS
from harness.trial import Trial

CONLLU = """# sent_id = 1
# text = Don't go
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\tVB\t_\t3\taux\t_\t_
2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_
2.1\tplease\tplease\tINTJ\tUH\t_\t_\t_\t3:x\t_
3\tgo\tgo\tVERB\tVB\t_\t0\troot\t_\t_

1\t#\t#\tSYM\tNN\t_\t0\troot\t_\t_
"""
NAMES = ("Ann", "Bob", "Cyd", "Dee", "Eve", "Fay", "Gus", "Hal", "Ida", "Jim")
FILES = {
    split: "\n".join(
        f"{name}\tB-person\nSmith\tI-person\nlives\tO\nin\tO\n{place}\tB-place\n" for name in NAMES for place in places
    )
    for split, places in (("train", ("Rome", "Oslo")), ("dev", ("Bonn",)), ("test", ("Bern", "Bath")))
}


def read(text, parse):
    return sentences(text.split("\n"), parse, "file", "this")


def faults(text, parse):
    with pytest.raises(UserError) as caught:
        read(text, parse)
    return [(fault.where, fault.what) for fault in caught.value.faults]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    for name, text in FILES.items():
        (tmp_path / "own" / f"{name}.conll").parent.mkdir(exist_ok=True)
        (tmp_path / "own" / f"{name}.conll").write_text(text)
    return tmp_path / "own"


def ner(folder, **settings):
    return registry.build("task", {"name": "ner", "data": str(folder), **settings})


# files


def test_of_conllu_the_words_are_read_not_the_tokens_they_stand_in():
    assert read(CONLLU, conllu) == [(["Do", "n't", "go"], ["AUX", "PART", "VERB"]), (["#"], ["SYM"])]


def test_in_columns_a_hash_is_a_word_and_white_lines_end_a_sentence():
    text = "#tag\tO\nBob\tx\tB-per\n\t\n \nI O\n"
    assert read(text, bio) == [(["#tag", "Bob"], ["O", "B-per"]), (["I"], ["O"])]


def test_every_line_that_is_wrong_is_named_with_what_is_wrong():
    assert faults("a O\nb\n\nc X\nd E-per\n", bio) == [
        ("file:2", "no word and tag in 'b'"),
        ("file:4", "tag 'X' is not O, B-type or I-type"),
        ("file:5", "tag 'E-per' is not O, B-type or I-type"),
    ]
    assert faults("1\ta\tb\n", conllu) == [("file:1", "3 columns, not 10, in '1\\ta\\tb'")]
    assert faults("x\ta" + "\t_" * 8, conllu) == [("file:1", "no word number: 'x'")]
    assert faults("1\ta" + "\t_" * 8, conllu)[0][1].startswith("no word and UPOS")
    assert len(faults("b\n" * 50, conll)) == 21


def test_a_file_without_blank_lines_is_no_sentence():
    assert faults("a O\n" * 1_500, bio) == [("file:1001", "a sentence of more than 1,000 words")]


# a user's own


def test_own_files_are_split_by_their_names(folder):
    task = ner(folder)
    assert [len(task.load(split, 0)) for split in SPLITS] == [20, 10, 20]
    assert task.facts["tags"] == ["B-person", "B-place", "I-person", "O"]


def test_one_own_file_is_dealt_out_by_its_sentences(folder):
    one = folder.parent / "all.conll"
    one.write_text("\n".join(f"w{i}\tB-x\nis\tO\n" for i in range(400)))
    task = ner(one)
    counts = [len(task.load(split, 0)) for split in SPLITS]
    assert sum(counts) == 400 and counts[0] > 300 and min(counts) > 5


def test_a_split_without_a_file_and_a_tag_that_training_lacks_are_refused(folder):
    (folder / "dev.conll").unlink()
    with pytest.raises(UserError, match="no file for valid"):
        ner(folder).shape  # noqa: B018
    (folder / "dev.conll").write_text("a\tB-new\n")
    with pytest.raises(UserError, match=r"tag 'B-new' is not in the training split\n  allowed: B-person"):
        ner(folder).shape  # noqa: B018
    (folder / "dev.conll").write_bytes(b"a\xff\tO\n")
    with pytest.raises(UserError, match="not UTF-8"):
        ner(folder).shape  # noqa: B018


# words


def test_every_part_of_a_word_has_numbers_of_its_own(folder):
    task = ner(folder)
    train, known = task.load("train", 0), task.facts["vocabularies"]
    edges = np.cumsum([0, *map(len, known)])
    real = np.arange(train.inputs.shape[1]) < train.lengths[:, None]
    assert len(known) == len(PARTS) == task.shape.columns and edges[-1] == task.shape.vocabulary
    for column, (first, stop) in enumerate(itertools.pairwise(edges)):
        numbers = train.inputs[real][:, column]
        assert (first <= numbers).all() and (numbers < stop).all()
    assert not train.inputs[~real].any()


def test_no_part_comes_from_a_held_out_sentence(folder):
    known = [entry for entries in ner(folder, least=1).facts["vocabularies"] for entry in entries]
    assert "Rome" in known and not {"Bonn", "Bern", "Bath", "bern"} & set(known)


def test_an_unknown_word_is_still_known_by_its_parts(folder):
    task = ner(folder)
    asked = task.ask("Smoth runs.")
    assert asked.lengths.tolist() == [3] and asked.inputs.shape == (1, 3, len(PARTS))
    assert task.told(asked.inputs[0]).split()[0] == "~th"


def test_rare_words_are_unknown_and_parts_can_be_left_out(folder):
    plain = ner(folder, parts=False)
    assert plain.shape.columns == 1 and plain.load("test", 0).inputs.ndim == 2
    assert "Ann" in plain.facts["vocabularies"][0]
    assert "Ann" not in ner(folder, parts=False, least=3).facts["vocabularies"][0]


def test_words_and_tags_are_said_as_they_are_written(folder):
    task = ner(folder)
    train = task.load("train", 0)
    inputs, targets = train.inputs[0], train.targets[0]
    assert task.told(inputs) == "Ann Smith lives in Rome"
    assert task.said(targets) == "B-person I-person O O B-place"
    assert task.shown(inputs, targets) == "Ann/B-person Smith/I-person lives/O in/O Rome/B-place"


def test_nothing_to_tag_is_refused(folder):
    with pytest.raises(UserError, match="no words"):
        ner(folder).ask("  ")


# floors and models


def test_the_floor_is_0_and_looking_words_up_finds_what_training_names(folder):
    task = ner(folder)
    assert task.floor() == 0
    assert task.facts["lookup"] == pytest.approx(
        2 * 20 / (20 + 40)
    )  # every person and no place, of which training lacks all


def test_the_floor_of_tags_is_the_commonest_one(folder):
    for split, text in (("train", "a\tX\nb\tX\nc\tY\n"), ("dev", "a\tX\n"), ("test", "a\tX\nc\tY\nd\tY\ne\tX\n")):
        (folder / f"{split}.conll").write_text(text)
    task = registry.build("task", {"name": "pos", "data": str(folder)})
    assert task.floor() == 0.5 and task.facts["lookup"] == 0.75


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("output", ["crf", "softmax"])
def test_the_weights_that_are_counted_are_those_of_the_model(folder, output, both):
    task = {"name": "ner", "data": str(folder), "output": output}
    trial = Trial(task=task, cell={"name": "lstm"}, hidden_size=3, bidirectional=both, examples=1)
    held = sorted(
        tuple(weight.shape) for weight in build_model(trial, trial.build_task(), trial.build_cell()).parameters()
    )
    assert sorted(cost.weight_shapes(trial).values()) == held


@pytest.mark.parametrize("output", ["crf", "softmax"])
def test_it_learns_names_from_where_they_stand(folder, output):
    """Places of the test split are unknown words, told by `in` before them."""
    task = {"name": "ner", "data": str(folder), "output": output}
    settings = {"bidirectional": True, "hidden_size": 16, "examples": 2_000, "learning_rate": 0.01, "evaluations": 1}
    record = run_trial(Trial(task=task, cell={"name": "lstm"}, **settings))
    assert record.status == "ok" and record.score > 0.95 > record.floor, record.reason


# data of others


@pytest.mark.data
@pytest.mark.parametrize(
    ("settings", "words", "tags"),
    [
        ({"name": "pos"}, (204_577, 25_147, 25_094), 17),
        ({"name": "ner", "data": "wnut17"}, (62_730, 15_733, 23_394), 13),
        ({"name": "ner", "data": "wikiann"}, (160_394, 80_536, 80_326), 7),
    ],
)
@pytest.mark.slow
def test_every_word_that_is_published_is_read(settings, words, tags):
    task = registry.build("task", settings)
    assert tuple(int(task.load(split, 0).lengths.sum()) for split in SPLITS) == words
    assert len(task.facts["tags"]) == tags and task.floor() < task.facts["lookup"]


@pytest.mark.data
def test_words_of_wikiann_lose_their_language_and_those_of_wnut_keep_their_hash():
    entries = {data: registry.build("task", {"name": "ner", "data": data}).facts["vocabularies"][0] for data in
               ("wikiann", "wnut17")}  # fmt: skip
    assert not [word for word in entries["wikiann"] if word.startswith("en:")] and "Saunders" in entries["wikiann"]
    assert len([word for word in entries["wnut17"] if word.startswith("#") and len(word) > 1]) > 50


def test_samples_show_each_word_with_its_tag(folder):
    task = {"name": "ner", "data": str(folder)}
    settings = {"bidirectional": True, "hidden_size": 16, "examples": 2_000, "learning_rate": 0.01, "evaluations": 1}
    record = run_trial(Trial(task=task, cell={"name": "lstm"}, **settings))
    first = json.loads(record.samples)[0]
    assert first["given"].startswith("Ann Smith lives in")
    assert first["wanted"].startswith("Ann/B-person Smith/I-person lives/O in/O ") and first["got"] == first["wanted"]
