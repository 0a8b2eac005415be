"""Sentiment of a sentence: the classic of sequence classification."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field

from harness.data import sources
from harness.data.prepared import Content
from harness.data.read_labels import letters, own_labelled, tree_phrases
from harness.data.text import numbered, vocabulary
from harness.errors import Fault, UserError
from harness.late import np
from harness.tasks._prepared import PreparedTask
from harness.tasks.base import SPLITS, Examples, Shape

STEMS = {"sst2": "stsa.binary", "sst5": "stsa.fine"}
NAMES = {
    "sst2": ("negative", "positive"),
    "sst5": ("very negative", "negative", "neutral", "positive", "very positive"),
}
TREES = "sst/trees_fiveclass_train.txt"
PHRASES = "-phrases"


def _files(stem: str) -> tuple[str, ...]:
    return tuple(f"sst/{stem}.{part}" for part in ("train", "dev", "test"))


class Sentiment(PreparedTask):
    """Sentiment: say how a sentence from a film review judges (many-to-one, accuracy).

    Stanford Sentiment Treebank (Socher et al., EMNLP 2013), whole sentences with the canonical splits: `sst2` (two
    classes, 6,920 / 872 / 1,821) or `sst5` (five, 8,544 / 1,101 / 2,210). `sst2-phrases` and `sst5-phrases` train on
    every different phrase of the training trees as well, as the published numbers do, and are judged on the same
    sentences. Or your own: a TSV of text and label, or JSONL with "text" and "label".
    The feed-forward contrast is a bag of embeddings.
    """

    data: str = "sst2"
    words: int = Field(20_000, ge=3, le=1_000_000, description="size of the vocabulary")
    least: int = Field(1, ge=1, le=1_000, description="times that training must have a word; rarer ones are unknown")
    longest: int = Field(200, ge=1, le=100_000, description="words that are read of a text; what follows is cut")

    sets: ClassVar = {
        **{name: _files(stem) for name, stem in STEMS.items()},
        **{name + PHRASES: (*_files(stem), TREES) for name, stem in STEMS.items()},
    }
    mapping: ClassVar = "many-to-one"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "accuracy"

    def prepare(self):
        rows = self._own() if self.own else self._published()
        labels = sorted({label for _, label in rows["train"]})
        if not self.own:
            labels = list(NAMES[self.data.removesuffix(PHRASES)])
        words = vocabulary((text for text, _ in rows["train"]), self.words, self.least)
        splits = {}
        for split, pairs in rows.items():
            inputs, lengths = numbered([text for text, _ in pairs], words, self.longest)
            targets = np.array([labels.index(label) for _, label in pairs], np.int64)
            splits[split] = Examples(inputs, targets, lengths)
        commonest = np.bincount(splits["train"].targets).argmax()
        steps = max(e.inputs.shape[1] for e in splits.values())
        shape = Shape(steps=steps, vocabulary=len(words), outputs=len(labels))
        floor = float((splits["test"].targets == commonest).mean())
        return Content(shape, floor, splits, {"words": words, "labels": labels})

    def _own(self):
        return {
            split: [(_words(text), label) for text, label in pairs] for split, pairs in own_labelled(self.data).items()
        }

    def _published(self):
        files, names = self.sets[self.data], NAMES[self.data.removesuffix(PHRASES)]
        rows = {}
        for split, file in zip(SPLITS, files, strict=False):
            lines = sources.read(*file.split("/")).decode().splitlines()
            rows[split] = [(line[2:].split(), names[int(line[0])]) for line in lines]
        if self.data.endswith(PHRASES):
            sentences = {letters(text) for pairs in rows.values() for text, _ in pairs}
            rows["train"] += _phrases(sentences, names)
        return rows

    def ask(self, given):
        words = _words(given)
        if not words:
            raise UserError(Fault("no words", allowed="a sentence", remedy="the film is great"))
        inputs, lengths = numbered([words], self.facts["words"], self.longest)
        return Examples(inputs, np.array([-100]), lengths)

    def told(self, inputs):
        return " ".join(self.facts["words"][int(word)] for word in inputs)

    def said(self, answer):
        return self.facts["labels"][int(answer)]


def _words(text):
    """Words of a text as the treebank writes them: small letters, signs apart, `do n't` and `film 's`."""
    text = re.sub(r"n't\b", " n't", text.lower().replace("\u2019", "'"))
    return re.findall(r"n't|'(?:s|re|ve|ll|d|m)\b|\w+(?:[-.&/]\w+)*|[^\w\s]", text)


def _phrases(sentences: set[str], names: tuple[str, ...]) -> list[tuple[list[str], str]]:
    """Different phrases of the training trees, without those that are sentences of a split. With two classes neutral
    ones are left out, and what is very good is good."""
    classes = {0: 0, 1: 0, 3: 1, 4: 1} if len(names) == 2 else {i: i for i in range(5)}
    found: dict[tuple[tuple[str, ...], str], None] = {}  # as a set, in order
    for line in sources.read(*TREES.split("/")).decode().splitlines():
        for words, label in tree_phrases(line):
            text = tuple(word.lower() for word in words)
            if label in classes and letters(text) and letters(text) not in sentences:
                found[text, names[classes[label]]] = None
    return [(list(text), name) for text, name in found]
