"""Pairs: sentences to translate and words to pronounce, the pieces that they are written in, and their floors."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu import corpus_bleu

from harness import registry
from harness.data import floors, sources
from harness.data.read_pairs import own_pairs, split_of
from harness.data.read_subwords import Subwords
from harness.engine import run_trial
from harness.errors import UserError
from harness.tasks.base import END, SPLITS
from harness.trial import Trial

NUMBERS = {"one": "eins", "two": "zwei", "three": "drei", "four": "vier", "five": "fünf"}
FRUITS = {"apples": "Äpfel", "pears": "Birnen", "plums": "Pflaumen", "cherries": "Kirschen"}


def build(name="translation", **settings):
    return registry.build("task", {"name": name, **settings})


def faults(call):
    with pytest.raises(UserError) as caught:
        call()
    return [f"{fault.where}: {fault.what}" for fault in caught.value.faults]


def counted(rng: np.random.Generator) -> str:
    """`Two pears, one plum.` and its translation, of two or three parts."""
    drawn = [(rng.choice([*NUMBERS]), rng.choice([*FRUITS])) for _ in range(rng.integers(2, 4))]
    sides = [", ".join(f"{n} {f}" for n, f in drawn), ", ".join(f"{NUMBERS[n]} {FRUITS[f]}" for n, f in drawn)]
    return "\t".join(f"{side[0].upper()}{side[1:]}." for side in sides)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    own, rng = tmp_path / "own", np.random.default_rng(0)
    own.mkdir()
    for split, count in (("train", 600), ("valid", 40), ("test", 60)):
        (own / f"{split}.tsv").write_text("\n".join(counted(rng) for _ in range(count)), encoding="utf-8")
    return own


# pieces


@given(text=st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=20))
@settings(deadline=None, max_examples=50)
def test_what_is_written_in_pieces_is_put_together_again(text):
    pieces = Subwords.learnt([text, "the quick brown fox", f"jumps {text} over"], 300)
    for one in (text, f"{text} fox", "the brown"):
        numbers = pieces.numbers(one)
        assert pieces.text(numbers) == one and END not in numbers and max(numbers) < len(pieces)
        assert pieces.text([*numbers, END]) == one


def test_pieces_are_those_of_frequent_words_and_the_same_every_time():
    texts = ["lower lowest lower slowest"] * 9 + ["xyz"]
    one, other = Subwords.learnt(texts, 40), Subwords.learnt(texts, 40)
    assert one.packed == other.packed and len(one) <= 40
    assert len(one.numbers("lower")) == 1
    assert Subwords(one.packed).numbers("slowest xyz") == one.numbers("slowest xyz")


def test_too_few_pieces_for_all_letters_is_said(folder):
    letters = "".join(chr(ord("a") + i % 26) + chr(0x4E00 + i) for i in range(200))
    (folder / "train.tsv").write_text(f"a\t{letters}\n", encoding="utf-8")
    (found,) = faults(lambda: build(data=str(folder), pieces=50).shape)
    assert "pieces" in found and "50" in found


# files


def test_own_pairs_of_a_folder_and_of_one_file(folder):
    rows = own_pairs(str(folder))
    assert [len(rows[split]) for split in SPLITS] == [600, 40, 60]
    one = folder.parent / "all.tsv"
    one.write_text("\n".join(f"source {i % 200}\ttarget {i}" for i in range(600)), encoding="utf-8")
    dealt = own_pairs(str(one))
    sides = {split: {a for a, _ in dealt[split]} for split in SPLITS}
    assert sum(map(len, sides.values())) == 200 and sum(map(len, dealt.values())) == 600
    assert all(split_of(text) == split for split in SPLITS for text in sides[split])


def test_every_line_that_is_wrong_is_named(folder):
    place = folder / "train.tsv"
    place.write_text("fine\tgut\n\nno tab\na\tb\tc\n \tempty\n", encoding="utf-8")
    assert faults(lambda: build(data=str(folder)).shape) == [
        f"{place}:3: 0 tabs in 'no tab'",
        f"{place}:4: 2 tabs in 'a\\tb\\tc'",
        f"{place}:5: an empty text in ' \\tempty'",
    ]
    place.write_bytes(b"a\xff\tb\n")
    assert faults(lambda: build(data=str(folder)).shape)[0].startswith(f"{place}: not UTF-8")
    place.unlink()
    assert faults(lambda: build(data=str(folder)).shape) == [f"{folder}: no train.tsv"]


def test_the_keys_of_pairs_fall_to_splits_of_90_5_and_5():
    counts = Counter(split_of(f"word {i}") for i in range(20_000))
    assert abs(counts["train"] - 18_000) < 200 and abs(counts["test"] - 1_000) < 150


# translation


def test_targets_are_what_the_references_say_and_vocabularies_are_those_of_training(folder):
    (folder / "test.tsv").write_text("One ☂.\tEin ☂.\n", encoding="utf-8")
    task = build(data=str(folder), pieces=60)
    train, test = task.load("train", 0), task.load("test", 0)
    first = (folder / "train.tsv").read_text(encoding="utf-8").splitlines()[0].split("\t")
    assert task.told(train.inputs[0][: train.lengths[0]]) == first[0]
    assert task.said(train.targets[0][train.targets[0] != -100]) == first[1]
    assert list(test.references[0]) == ["Ein ☂."]
    assert "☂" not in task.told(test.inputs[0][: test.lengths[0]])


def test_longer_pairs_are_not_trained_on_but_held_out_ones_are_judged_whole(folder):
    task, short = build(data=str(folder), pieces=60), build(data=str(folder), pieces=60, longest=20)
    assert len(short.load("train", 0)) < len(task.load("train", 0)) == 600
    assert short.shape.steps <= 20 and short.shape.target_steps <= 20
    for split in ("valid", "test"):
        assert [*map(list, short.load(split, 0).references)] == [*map(list, task.load(split, 0).references)]

    (found,) = faults(lambda: build(data=str(folder), pieces=60, longest=8).shape)
    assert found == f"{folder}, train: no pair with at most 8 pieces on each side"


def test_nothing_to_translate_is_refused(folder):
    task = build(data=str(folder), pieces=60)
    assert "no text to translate" in faults(lambda: task.ask(" "))[0]
    asked = task.ask("Two pears, one apples.")
    assert task.told(asked.inputs[0]) == "Two pears, one apples."


@pytest.mark.slow
def test_it_learns_to_translate_and_a_beam_does_no_worse(folder):
    task = {"name": "translation", "data": str(folder), "pieces": 60}
    plain = {"hidden_size": 32, "attention": "dot", "bidirectional": True, "batch_size": 20, "batching": "by-length"}
    plain |= {"examples": 12_000, "learning_rate": 0.01, "schedule": "cosine", "clip_norm": 1.0, "evaluations": 1}
    greedy, beam = (run_trial(Trial(task=task, cell={"name": "lstm"}, beam_width=width, **plain)) for width in (1, 4))
    assert greedy.status == beam.status == "ok", greedy.reason
    assert greedy.floor < 40 < 80 < greedy.score, "free-running, against the untouched text"
    assert beam.score > greedy.score - 1 and beam.weights_sha256 == greedy.weights_sha256
    rows = json.loads(greedy.samples)
    got, due = [row["got"] for row in rows], [[row["wanted"] for row in rows]]
    assert corpus_bleu(got, due).score > 60


# floors


def test_the_floor_is_the_bleu_of_one_sentence_by_sacrebleu(folder):
    task = build(data=str(folder), pieces=60)
    wanted = [line.split("\t")[1] for line in (folder / "test.tsv").read_text(encoding="utf-8").splitlines()]
    constant = task.facts["constant"]
    assert constant in (folder / "train.tsv").read_text(encoding="utf-8")
    assert task.floor() == pytest.approx(corpus_bleu([constant] * len(wanted), [wanted]).score)


texts = st.lists(st.lists(st.sampled_from("abcde"), min_size=1, max_size=7).map(" ".join), min_size=2, max_size=12)


@given(train=texts, valid=texts, test=texts)
@settings(deadline=None, max_examples=40)
def test_no_other_candidate_is_better_on_the_split_that_chooses(train, valid, test):
    def right(rows):
        return [[row] for row in rows]

    best, floor = floors.best_constant(train, right(valid), right(test), floors.bleu)
    scores = [corpus_bleu([text] * len(valid), [valid]).score for text in train]
    assert floors.bleu([best] * len(valid), right(valid)) == pytest.approx(max(scores))
    assert floor == pytest.approx(corpus_bleu([best] * len(test), [test]).score)


def test_finalists_hold_what_a_search_of_everything_finds():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("aabbbccd"), rng.integers(4, 9))) for _ in range(60)]
    found = floors.most_matched(texts, 10)
    best = max(set(texts), key=lambda text: corpus_bleu([text] * 60, [texts]).score)
    assert len(found) == 10
    assert (
        max(corpus_bleu([text] * 60, [texts]).score for text in found) > 0.9 * corpus_bleu([best] * 60, [texts]).score
    )


# Multi30k


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("pair", ["en-de", "de-en"])
def test_multi30k_has_the_published_sizes_and_its_text_comes_back_as_it_is(pair):
    task = build(data=f"multi30k-{pair}")
    assert [len(task.load(split, 0)) for split in SPLITS] == [29_000, 1_014, 1_000]
    source, target = (
        sources.read("multi30k", f"test_2016_flickr.{side}").decode().split("\n") for side in pair.split("-")
    )
    test = task.load("test", 0)
    for row in (0, 500, 999):
        assert task.told(test.inputs[row][: test.lengths[row]]) == source[row].strip()
        assert list(test.references[row]) == [target[row]]
    assert 2 < task.floor() < 8 and len(task.subwords[0]) == len(task.subwords[1]) == 4_000


# pronunciation


DICTIONARY = """\
bat B AE1 T
bats B AE1 T S  # more than one
read R EH1 D
read(2) R IY1 D
read(3) R EH1 D
(nil) N IH1 L
"""


@pytest.fixture
def words(tmp_path, monkeypatch):
    """Words whose letters are their phones, in a file."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    drawn = sorted({"".join(rng.choice(list("abdefgiklmnoprstuvz"), rng.integers(2, 6))) for _ in range(700)})
    (tmp_path / "own.dict").write_text("\n".join(f"{word} {' '.join(word.upper())}" for word in drawn))
    return tmp_path / "own.dict"


def test_all_ways_to_say_a_word_are_read_and_each_is_right(words):
    words.write_text(words.read_text() + "\n" + DICTIONARY)
    task = build("pronunciation", data=str(words))
    pairs = [line.split() for line in words.read_text().splitlines()]
    assert sum(len(task.load(split, 0)) for split in SPLITS[1:]) == len(
        {word.partition("(")[0] or word for word, *_ in pairs if split_of(word.partition("(")[0] or word) != "train"}
    )
    known = {split: dict(_said(task, split)) for split in SPLITS}
    split = split_of("read")
    assert known[split]["read"] == {"R EH D", "R IY D"} and known[split_of("bats")]["bats"] == {"B AE T S"}
    assert {"N IH L"} in known[split_of("(nil)")].values()
    kept = build("pronunciation", data=str(words), stress=True)
    assert dict(_said(kept, split))["read"] == {"R EH1 D", "R IY1 D"}


def _said(task, split):
    """Each word with every way to say it."""
    found: dict[str, set[str]] = {}
    examples = task.load(split, 0)
    for row in range(len(examples)):
        word = task.told(examples.inputs[row])
        targets = examples.targets[row]
        ways = [task.said(targets[targets > 0])] if examples.references is None else examples.references[row]
        found.setdefault(word, set()).update(ways)
    return found.items()


def test_a_word_is_in_one_split_and_letters_and_phones_come_from_training(words):
    task = build("pronunciation", data=str(words))
    known = [{word for word, _ in _said(task, split)} for split in SPLITS]
    assert not known[0] & known[1] and not known[0] & known[2] and not known[1] & known[2]
    trained = {letter for word in known[0] for letter in word}
    assert set(task.facts["letters"][2:]) == trained and set(task.facts["phones"][2:]) == {x.upper() for x in trained}


def test_lines_without_phones_are_named(words):
    words.write_text("cat K AE1 T\ndog\n# only this\ncow  # said\n")
    assert faults(lambda: build("pronunciation", data=str(words)).shape) == [
        f"{words}:2: a word without phones: 'dog'",
        f"{words}:3: a word without phones: '# only this'",
        f"{words}:4: a word without phones: 'cow  # said'",
    ]


def test_a_word_of_strange_letters_is_not_asked(words):
    task = build("pronunciation", data=str(words))
    assert task.told(task.ask(" Bad ").inputs[0]) == "bad"
    assert "no word was trained on with 9 ß" in faults(lambda: task.ask("9ß"))[0]
    assert "no word" in faults(lambda: task.ask(" "))[0]


def test_it_learns_to_spell_and_its_scores_are_those_of_what_it_writes(words):
    plain = {"hidden_size": 32, "attention": "dot", "bidirectional": True, "batch_size": 16, "batching": "by-length"}
    plain |= {"examples": 12_000, "learning_rate": 0.01, "schedule": "cosine", "clip_norm": 1.0, "evaluations": 1}
    record = run_trial(Trial(task={"name": "pronunciation", "data": str(words)}, cell={"name": "lstm"}, **plain))
    assert record.status == "ok" and record.score < 0.2 < record.floor, record.reason
    also = dict(zip(record.also_names, record.also_scores, strict=True))
    assert also["phone_error_rate"] < 0.1 and also["perplexity"] < 1.5


@pytest.mark.data
def test_cmudict_has_the_published_counts_and_no_word_twice():
    task = build("pronunciation")
    found = [dict(_said(task, split)) for split in SPLITS]
    assert sum(map(len, found)) == 126_052 and len({*found[0], *found[1], *found[2]}) == 126_052
    assert [round(len(known) / 126_052, 2) for known in found] == [0.9, 0.05, 0.05]
    assert len(task.facts["phones"]) - 2 == 39 and 0.99 < task.floor() < 1
