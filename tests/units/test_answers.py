"""Summaries and answers: published sets, a user's files, what is cut, hostile texts, and what a guess scores."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from harness import registry
from harness.data import floors, read_answers, read_reports
from harness.data.read_answers import own_answered, own_dialogues
from harness.data.read_subwords import Subwords, plain
from harness.errors import UserError
from harness.tasks.base import END, SPLITS

TEXTS = [
    f"The {a} {b} rests on the mat. It is {c}." for a in ("old", "new", "red") for b in ("cat", "dog") for c in "xyz"
]
SUMMARIES = [f"A {text.split()[2]} rests." for text in TEXTS]
TALKS = [["Hi there.", "Hello!", "Who won?", f"Team {i}."] for i in range(12)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "own"
    place.mkdir()
    return place


def files(folder, rows, suffix="tsv"):
    """Write a line to training for each row, and the first three lines to each of the other splits."""
    for split in SPLITS:
        (folder / f"{split}.{suffix}").write_text("\n".join(rows if split == "train" else rows[:3]) + "\n")
    return str(folder)


@pytest.fixture
def summaries(folder):
    return files(folder, [f"{text}\t{summary}" for text, summary in zip(TEXTS, SUMMARIES, strict=True)])


@pytest.fixture
def talks(folder):
    return files(folder, ["\t".join(turns) for turns in TALKS])


def build(name, data, **settings):
    return registry.build("task", {"name": name, "data": data, "pieces": 60, **settings})


def refused(call):
    with pytest.raises(UserError) as caught:
        call()
    return [str(fault).partition("\n")[0] for fault in caught.value.faults]


# what a user gives


def test_json_lines_say_the_same_as_tabs(folder, summaries):
    tabs = own_answered(summaries)
    for path in folder.iterdir():
        rows = [line.split("\t") for line in path.read_text().splitlines()]
        path.unlink()
        lines = [json.dumps({"source": a.replace(". ", ".\n").split("\n"), "target": b}) for a, b in rows]
        path.with_suffix(".jsonl").write_text("\n".join(lines))
    assert own_answered(summaries) == tabs


def test_several_right_answers_are_trained_on_each_and_are_references_of_one_example(folder):
    row = json.dumps({"source": TEXTS[0], "target": ["A cat rests.", "It is x."], "id": 7})
    task = build("summarization", files(folder, [row] * 4, "jsonl"))
    assert [len(task.load(split, 0)) for split in SPLITS] == [8, 3, 3]
    assert task.load("test", 0).references[0] == ["A cat rests.", "It is x."]


def test_one_file_of_dialogues_is_dealt_out_so_that_equal_beginnings_stay_together(tmp_path):
    (tmp_path / "talk.tsv").write_text("\n".join(f"say {i % 300}\tanswer {i}" for i in range(900)))
    rows = own_dialogues(str(tmp_path / "talk.tsv"))
    begun = [{turns[0] for turns in rows[split]} for split in SPLITS]
    assert sum(map(len, begun)) == 300 and sum(map(len, rows.values())) == 900 and min(map(len, begun)) > 3


NOT_TEXT = [
    ("summarization", "tsv", "no summary", "0 tabs in 'no summary'"),
    ("summarization", "tsv", "a\tb\tc", "2 tabs in 'a\\tb\\tc'"),
    ("summarization", "tsv", "a\t ", "an empty text in 'a\\t '"),
    ("summarization", "tsv", "a\0\tb", "character '\\x00' in 'a\\x00'"),
    ("summarization", "jsonl", '{"source": "a"}', 'no text in "target"'),
    ("summarization", "jsonl", '{"source": "a", "target": []}', 'no text in "target"'),
    ("summarization", "jsonl", '{"source": ["a", 1], "target": "b"}', 'no text in "source"'),
    ("summarization", "jsonl", '{"source": "  ", "target": "b"}', "an empty text"),
    ("summarization", "jsonl", r'{"source": "a\ud800", "target": "b"}', "character '\\ud800' in 'a\\ud800'"),
    ("summarization", "jsonl", "[1, 2]", "no JSON object in '[1, 2]'"),
    ("chatbot", "tsv", "Hello?", "one turn, and no answer to it: 'Hello?'"),
    ("chatbot", "tsv", "Hello?\t\tHi", "an empty text"),
    ("chatbot", "jsonl", '{"turns": ["Hi"]}', "one turn, and no answer to it: 'Hi'"),
    ("chatbot", "jsonl", '{"turns": "Hi"}', 'no text in "turns"'),
    ("chatbot", "jsonl", '{"turns": ["Hi", null]}', 'no text in "turns"'),
    ("chatbot", "jsonl", '{"turns": ["Hi", "Ho"]', "no JSON: Expecting ',' delimiter at column 23"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "suffix", "line", "what"), NOT_TEXT)
def test_each_line_that_is_wrong_is_named_with_its_file(folder, name, suffix, line, what):
    good = {"tsv": "a text\tan answer", "jsonl": '{"source": "a", "target": "b", "turns": ["a", "b"]}'}[suffix]
    data = files(folder, [good] * 4, suffix)
    place = folder / f"train.{suffix}"
    place.write_text("\n".join([good, line, "", line]))
    assert refused(lambda: build(name, data).shape)[:2] == [f"{place}:2: {what}", f"{place}:4: {what}"]


@pytest.mark.parametrize("name", ["summarization", "chatbot"])
def test_a_file_that_is_no_text_is_named(folder, name):
    data = files(folder, ["a\tb"] * 4)
    (folder / "valid.tsv").write_bytes(b"a\tb\nna\xefve\tb\n")
    (where,) = refused(lambda: build(name, data).shape)
    assert where == f"{folder / 'valid.tsv'}: not UTF-8: invalid continuation byte at byte 6"


def test_a_split_in_which_no_answer_is_short_enough_is_named(talks):
    assert refused(lambda: build("chatbot", talks, longest_answer=2).shape)[0].endswith(
        "no example falls to this split"
    )


# hostile texts


@pytest.mark.parametrize(
    "text", ["<end> is said", "</s> <s> <unk>", "a ▁ b", "NaN null -100", "\u202eabc\u200b", "é 漢 🙂 a"]
)
def test_a_text_is_read_and_written_as_it_is_whatever_it_says(folder, text):
    letters = " ".join("abcdefghijklmnopqrstuvwxyz</>")  # SentencePiece learns no piece of what is its own mark
    task = build("summarization", files(folder, [f"{text} {letters}\t{text}"] * 4), pieces=200)
    test = task.load("test", 0)
    written = test.targets[0][test.targets[0] >= 0]
    assert (written == END).sum() == 1 and written[-1] == END and not (test.inputs[0][: test.lengths[0]] == END).any()
    assert task.said(written[:-1]) == plain(text) and test.references[0] == [plain(text)]


@pytest.mark.parametrize("name", ["summarization", "chatbot"])
def test_a_line_of_a_hundred_thousand_letters_is_learnt_from_and_cut(folder, name):
    long, words = "ab" * 50_000, "the cat rests " * 7_000
    task = build(
        name, files(folder, [f"{long}\tletters", f"{words}\twords", "short\tshort", f"b\t{words}"]), longest=40
    )
    examples = task.load("train", 0)
    assert examples.inputs.shape[1] == 40 and examples.targets.shape[1] <= task.longest_answer
    assert len(task.subwords.numbers(words)) < 30_000, "its pieces are words"


def test_pieces_that_are_fewer_than_characters_are_refused_with_their_number(folder):
    data = files(folder, ["".join(chr(0x4E00 + i) for i in range(200)) + "\ta"] * 4)
    assert refused(lambda: build("summarization", data).shape) == ["pieces: 60 for a text of 201 different characters"]
    assert build("summarization", data, pieces=204).shape.vocabulary == 204


def test_summaries_in_letters_that_rouge_does_not_count_are_refused(folder):
    data = files(folder, ["text\t漢字"] * 4)
    assert refused(lambda: build("summarization", data).shape) == [f"{data}: no summary has a word that ROUGE counts"]


def test_pieces_need_a_text():
    assert refused(lambda: Subwords.learnt(["", "  "], 100)) == ["the training split: no text to learn pieces of"]


@pytest.mark.parametrize("wrong", ["", " \n\t ", "\u2581", "a\0b", "\udcff", None, 3, ["a"]])
def test_what_is_no_text_is_refused(wrong):
    with pytest.raises(ValueError, match=r"text|character"):
        plain(wrong)


# what the tasks make of it


def test_pieces_come_from_training_alone(folder):
    data = files(folder, ["old words\tare here"] * 4)
    task = build("summarization", data)
    before = task.subwords.packed
    (folder / "test.tsv").write_text("zebra quiz\tjinx")
    again = build("summarization", data)
    assert again.subwords.packed == before and again.load("test", 0).references[0] == ["jinx"]


def test_texts_are_cut_at_their_beginning_and_summaries_are_closed(summaries):
    task = build("summarization", summaries, longest=6, longest_answer=3)
    train = task.load("train", 0)
    assert train.inputs.shape[1] == 6 and train.lengths.max() == 6 and train.targets.shape[1] == 3
    assert TEXTS[0].startswith(task.told(train.inputs[0])) and (train.targets[:, 2] == END).all()
    assert task.load("test", 0).references[0] == [SUMMARIES[0]], "the whole one is what is scored"


def test_every_turn_answers_the_turns_before_it(talks):
    task = build("chatbot", talks)
    test = task.load("test", 0)
    told = [task.told(row[:n]) for row, n in zip(test.inputs, test.lengths, strict=True)][:3]
    said = [task.said(row[row > END]) for row in test.targets][:3]
    assert told == ["Hi there.", "Hi there.\nHello!", "Hello!\nWho won?"] and said == ["Hello!", "Who won?", "Team 0."]


def test_of_long_turns_the_last_pieces_are_read_and_long_answers_are_not_asked_for(talks):
    whole, cut = build("chatbot", talks, turns=9), build("chatbot", talks, turns=9, longest=4, longest_answer=4)
    for row, n in zip(cut.load("test", 0).inputs, cut.load("test", 0).lengths, strict=True):
        assert n <= 4 and any(cut.told(row[:n]) in whole.told(longer) for longer in whole.load("test", 0).inputs)
    short = [row for row in whole.load("train", 0).targets if (row != -100).sum() <= 4]
    assert len(cut.load("train", 0)) == len(short) < len(whole.load("train", 0))


def test_a_user_is_read_as_the_examples_are(summaries):
    task = build("summarization", summaries)
    test, given = task.load("test", 0), task.ask(" \n" + TEXTS[0].replace(". ", ".\n\n") + "\n")
    assert np.array_equal(given.inputs[0], test.inputs[0][: test.lengths[0]])
    assert refused(lambda: task.ask(" \n ")) == ["--input: an empty text"]
    assert refused(lambda: task.ask("\udcff")) == ["--input: character '\\udcff' in '\\udcff'"]


def test_lines_of_a_user_are_turns(talks):
    task = build("chatbot", talks)
    assert task.told(task.ask("Never read\nHi there.\nHello!").inputs[0]) == "Hi there.\nHello!"


# synthetic reports


def test_a_report_holds_its_result_and_no_result_is_both_trained_on_and_tested():
    found = read_reports.reports()
    assert [len(found[split]) for split in SPLITS] == [4000, 500, 500]
    results = [{texts[0] for _, texts in found[split]} for split in SPLITS]
    assert not results[0] & results[2] and not results[0] & results[1] and not results[1] & results[2]
    for report, (beat, lost) in found["test"]:
        winner, _, loser, more, _, less = beat.rstrip(".").split()
        assert lost == f"{loser} lost {less} to {more} against {winner}." and int(more) > int(less)
        (said,) = (one for one in report.rstrip(".").split(". ") if winner in one and loser in one)
        assert {more, less} <= set(said.replace(",", "").split()) and 2 <= report.count(".") <= 4
    for team in read_reports.TEAMS:
        assert {f"{team} beat", f"beat {team}"} <= {" ".join(t.split()[i : i + 2]) for t in results[0] for i in (0, 1)}


def test_reports_are_the_same_every_time():
    assert read_reports.reports() == read_reports.reports()


# what a guess scores


def test_the_floor_of_summaries_is_the_best_constant_by_googles_package(summaries):
    task = build("summarization", summaries)
    score = RougeScorer(["rouge1"], use_stemmer=True).score
    right = [texts for texts in task.load("test", 0).references]
    said = {
        one: np.mean([max(score(t, one)["rouge1"].fmeasure for t in texts) for texts in right]) for one in SUMMARIES
    }
    assert task.floor() == pytest.approx(said[task.facts["constant"]]) == pytest.approx(max(said.values()))
    lead = [score(texts[0], text.split(".")[0])["rouge1"].fmeasure for texts, text in zip(right, TEXTS, strict=False)]
    assert task.facts["lead"] == pytest.approx(np.mean(lead))


def test_the_floor_of_answers_is_what_is_said_whatever_was_asked(talks):
    task = build("chatbot", talks)
    train, test = (task.load(split, 0).targets for split in ("train", "test"))
    p = floors.next_symbol(train, test, task.shape.outputs)
    assert task.floor() == pytest.approx(math.exp(-np.log(p).mean()))


@given(texts=st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6), min_size=1, max_size=8))
def test_candidates_are_those_that_share_most_words_with_a_text_drawn_from_all(texts):
    sets = [set(text) for text in texts]
    usual = np.mean([len(words) for words in sets])
    shared = [np.mean([len(words & other) for other in sets]) / (len(words) + usual) for words in sets]
    found = floors.most_alike(texts, 3)
    assert len(found) == min(3, len(texts)) == len(set(found))
    assert [shared[i] for i in found] == pytest.approx(sorted(shared, reverse=True)[:3])


# published sets


@pytest.mark.data
def test_published_splits_are_whole_and_keep_every_reference():
    found = read_answers.scitldr()
    assert [len(found[split]) for split in SPLITS] == [1992, 619, 618]
    assert [sum(len(texts) for _, texts in found[split]) for split in SPLITS] == [1992, 1453, 1967]
    talks = read_answers.self_dialogue()
    assert [len(talks[split]) for split in SPLITS] == [21_765, 1_185, 1_205]
    assert sum(len(turns) for rows in talks.values() for turns in rows) == 372_709


@pytest.mark.data
def test_floors_of_published_sets():
    """The best constant summary is far above nothing, and below the first sentence of the text."""
    task = registry.build("task", {"name": "summarization"})
    assert task.floor() == pytest.approx(0.266, abs=0.001) and task.facts["lead"] == pytest.approx(0.313, abs=0.003)
    assert registry.build("task", {"name": "chatbot"}).floor() == pytest.approx(33.1, abs=0.1)
