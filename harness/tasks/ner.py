"""Named entities: who, where and what, word by word."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from harness.data import sources
from harness.data.read_columns import bio, own_sentences, sentences
from harness.data.read_entities import f1, matches
from harness.tasks._tagging import TaggingTask
from harness.tasks.base import SPLITS

FILES = {
    "wnut17": tuple(
        f"wnut17/{file}" for file in ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")
    ),
    "wikiann": tuple(f"wikiann_en/{file}" for file in ("train", "dev", "test")),
}


class Ner(TaggingTask):
    """Named entity recognition: mark the names in a text and say of what (many-to-many, entity F1).

    `wnut17`: WNUT-17 (Derczynski et al. 2017), emerging entities of six types in user text, 3,394 / 1,009 / 1,287
    sentences. `wikiann`: WikiANN English (Pan et al., ACL 2017; splits of Rahimi et al., ACL 2019), three types, silver
    labels, 20,000 / 10,000 / 10,000. Or your own columns: word first, tag last, as O, B-type and I-type.
    Whoever marks nothing scores the floor, 0; `lookup` in the facts is what each word's own commonest tag scores.
    """

    data: str = "wnut17"
    output: Literal["crf", "softmax"] = Field("crf", description="whether the tags of a sentence are chosen together")

    sets: ClassVar = FILES
    metric: ClassVar = "entity_f1"
    also: ClassVar = ("accuracy",)

    @property
    def objective(self):  # type: ignore[override]  # by the output
        return "crf" if self.output == "crf" else "cross-entropy"

    def key(self):
        return {name: value for name, value in super().key().items() if name != "output"}

    def sentences(self):
        if self.own:
            return own_sentences(
                self.data, bio, "a word, its tag last (O, B-type, I-type), blank lines between sentences"
            )
        return {split: self._published(file) for split, file in zip(SPLITS, self.sets[self.data], strict=True)}

    @staticmethod
    def _published(file):
        found = sentences(sources.read(*file.split("/")).decode().split("\n"), bio, file, "CoNLL")
        # WikiANN writes the language before each word
        return [([w.removeprefix("en:") if file.startswith("wikiann") else w for w in ws], tags) for ws, tags in found]

    def scored(self, answers, due):
        return f1(*map(sum, zip(*(matches(a, b) for a, b in zip(answers, due, strict=True)), strict=True)))
