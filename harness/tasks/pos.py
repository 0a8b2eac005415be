"""Parts of speech: the classic of tagging."""

from __future__ import annotations

from typing import ClassVar

from harness.data import sources
from harness.data.read_columns import conll, conllu, own_sentences, sentences
from harness.tasks._tagging import TaggingTask
from harness.tasks.base import SPLITS


class Pos(TaggingTask):
    """Part-of-speech tagging: say of each word what kind it is (many-to-many, accuracy).

    Universal Dependencies 2.16, English Web Treebank (Silveira et al., LREC 2014): 12,544 / 2,001 / 2,077 sentences, 17
    universal tags of the syntactic words. Or your own columns: word and tag, or CoNLL-U.
    The floor is the commonest tag; `lookup` in the facts is what each word's own commonest tag scores.
    """

    data: str = "ewt"

    sets: ClassVar = {"ewt": tuple(f"ud_english_ewt/en_ewt-ud-{part}.conllu" for part in ("train", "dev", "test"))}
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "accuracy"

    def sentences(self):
        if self.own:
            return own_sentences(self.data, conll, "a word, its tag last, and a blank line behind each sentence")
        return {
            split: sentences(sources.read(*file.split("/")).decode().split("\n"), conllu, file, "CoNLL-U")
            for split, file in zip(SPLITS, self.sets[self.data], strict=True)
        }

    def scored(self, answers, due):
        pairs = [pair for rows in zip(answers, due, strict=True) for pair in zip(*rows, strict=True)]
        return sum(a == b for a, b in pairs) / len(pairs)
