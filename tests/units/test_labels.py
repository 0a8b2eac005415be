"""Texts with labels: a user's files, phrases of the treebank, and a sentiment said in words."""

from __future__ import annotations

import json

import pytest

from harness import registry
from harness.data import sources
from harness.data.read_labels import letters, own_labelled, tree_phrases
from harness.errors import UserError
from harness.tasks.base import SPLITS


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "own"
    folder.mkdir()
    for name, rows in (("train", ["a good film\tgood", "bad\tbad", "good\tgood"]), ("val", ["bad\tbad"]),
                       ("test", ["unseen words\tgood", "so bad\tbad"])):  # fmt: skip
        (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n\n")
    return folder


def build(**settings):
    return registry.build("task", {"name": "sentiment", **settings})


def faults(call):
    with pytest.raises(UserError) as caught:
        call()
    return [str(fault).partition("\n")[0] for fault in caught.value.faults]


# a user's own


def test_own_files_are_split_by_their_names_and_numbered_from_training_alone(own):
    task = build(data=str(own))
    assert [len(task.load(split, 0)) for split in SPLITS] == [3, 1, 2]
    assert task.facts["labels"] == ["bad", "good"] and "unseen" not in task.facts["words"]
    assert task.floor() == 0.5, "the commonest label of training, good, is half of the test split"
    test = task.load("test", 0)
    assert [task.said(label) for label in test.targets] == ["good", "bad"]
    assert task.told(test.inputs[0][: test.lengths[0]]) == "<unk> <unk>"


def test_json_lines_say_the_same_as_tabs(own, tmp_path):
    lines = tmp_path / "lines"
    lines.mkdir()
    for path in own.iterdir():
        rows = [line.split("\t") for line in path.read_text().splitlines() if line]
        text = "\n".join(json.dumps({"label": label, "text": text, "id": 1}) for text, label in rows)
        (lines / f"{path.stem}.jsonl").write_text(text)
    assert own_labelled(str(lines)) == own_labelled(str(own))


def test_one_file_is_dealt_out_by_its_texts_so_that_equal_ones_stay_together(tmp_path):
    (tmp_path / "all.tsv").write_text("\n".join(f"text {i % 300}\t{i % 2}" for i in range(900)))
    rows = own_labelled(str(tmp_path / "all.tsv"))
    texts = [{text for text, _ in rows[split]} for split in SPLITS]
    assert sum(map(len, texts)) == 300 and sum(map(len, rows.values())) == 900 and min(map(len, texts)) > 3


def test_every_line_that_is_wrong_is_named(own):
    (own / "train.tsv").write_text("no label\ngood\tgood\na\tb\tc\n\tgood\nbad\t \n")
    place = own / "train.tsv"
    assert faults(lambda: build(data=str(own)).shape) == [
        f"{place}:1: 1 columns in 'no label'",
        f"{place}:3: 3 columns in 'a\\tb\\tc'",
        f"{place}:4: an empty text in '\\tgood'",
        f"{place}:5: an empty label in 'bad\\t '",
    ]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"text": "a"', "no JSON"),
        ('{"text": "a"}', "no text or no label"),
        ('{"text": 1, "label": "x"}', "no text or no label"),
        ('["a", "b"]', "no JSON object in"),
        ("[" * 100_000, "no JSON: nested too deeply"),
    ],
)
def test_lines_of_json_are_checked(own, line, what):
    (own / "train.jsonl").write_text(line)
    assert what in faults(lambda: build(data=str(own)).shape)[0]


def test_labels_that_training_lacks_and_a_single_label_are_refused(own):
    (own / "test.tsv").write_text("a\tneutral\nb\tmixed\n")
    assert faults(lambda: own_labelled(str(own))) == [
        f"{own}, test split: label 'mixed' is not in the training split",
        f"{own}, test split: label 'neutral' is not in the training split",
    ]
    (own / "train.tsv").write_text("a\tgood\n")
    assert "is no question" in faults(lambda: own_labelled(str(own)))[0]


def test_a_split_without_file_or_row_is_refused(own):
    (own / "val.tsv").write_text("\n")
    assert "no row falls to valid" in faults(lambda: own_labelled(str(own)))[0]
    (own / "val.tsv").unlink()
    assert "no file for valid" in faults(lambda: own_labelled(str(own)))[0]


def test_what_is_longer_than_asked_is_cut(own):
    train = build(data=str(own), longest=2).load("train", 0)
    assert train.inputs.shape == (3, 2) and train.lengths.tolist() == [2, 1, 1]


# trees


def test_phrases_of_a_tree_are_its_nodes():
    phrases = list(tree_phrases("(3 (2 A) (4 (4 fine) (2 film)))"))
    assert phrases == [(["A"], 2), (["fine"], 4), (["film"], 2), (["fine", "film"], 4), (["A", "fine", "film"], 3)]


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", ["sst2", "sst5"])
def test_phrases_add_to_training_and_touch_nothing_held_out(name):
    plain, more = build(data=name), build(data=f"{name}-phrases")
    for split in ("valid", "test"):
        one, other = plain.load(split, 0), more.load(split, 0)
        assert (one.targets == other.targets).all() and (one.lengths == other.lengths).all()
    held_out = set()
    for file in more.sets[more.data][1:3]:
        lines = sources.read(*file.split("/")).decode().splitlines()
        held_out |= {letters(line[2:].split()) for line in lines}
    train, words = more.load("train", 0), more.facts["words"]
    begin = len(plain.load("train", 0))
    assert len(train) > 8 * begin
    rows = [tuple(words[w] for w in row[:n]) for row, n in zip(train.inputs, train.lengths, strict=True)][begin:]
    assert not held_out & {letters(row) for row in rows}
    assert len(set(zip(rows, train.targets[begin:].tolist(), strict=True))) == len(rows), "each phrase once"


# words


@pytest.mark.data
def test_sst_has_the_sizes_that_are_published():
    assert [len(build(data="sst2").load(split, 0)) for split in SPLITS] == [6_920, 872, 1_821]
    assert [len(build(data="sst5").load(split, 0)) for split in SPLITS] == [8_544, 1_101, 2_210]


@pytest.mark.data
def test_a_sentence_is_read_as_the_treebank_writes_it():
    task = build()
    asked = task.ask("The film's GREAT, but I didn\u2019t like its ending.")
    assert task.told(asked.inputs[0]) == "the film 's great , but i did n't like its ending ."
    assert asked.lengths.tolist() == [13] and task.said(task.load("test", 0).targets[0]) == "negative"


def test_nothing_to_judge_is_refused(own):
    assert "no words" in faults(lambda: build(data=str(own)).ask(" "))[0]
