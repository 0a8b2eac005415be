"""Translation of sentences: the task that encoder-decoders were made for."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

from pydantic import Field

from harness.data import floors, sources
from harness.data.prepared import Content
from harness.data.read_pairs import own_pairs
from harness.data.read_subwords import Subwords, examples
from harness.errors import Fault, UserError
from harness.tasks._prepared import PreparedTask
from harness.tasks.base import SPLITS, Examples, Shape

FILES = ("train", "val", "test_2016_flickr")


class Translation(PreparedTask):
    """Translation: write a sentence in another language (encoder-decoder, BLEU).

    Multi30k (Elliott et al., VL 2016; captions of photographs), 29,000 / 1,014 / 1,000 pairs, tested on Flickr 2016:
    `multi30k-` and en-de, de-en, en-fr or fr-en. Validation reads val.de of the authors' repository, which differs from
    the copy of 2016 (torchtext) in 62 lines. Or your own: a TSV of pairs, or a folder of train, valid and test.tsv.
    Text is read and written in byte-pair pieces of the training split, case and punctuation as they are. BLEU compares
    the written text with the untouched reference; perplexity is that of its pieces.
    """

    data: str = "multi30k-en-de"
    pieces: int = Field(4_000, ge=50, le=100_000, description="most pieces of a language's vocabulary")
    longest: int = Field(100, ge=4, le=10_000, description="pieces of a sentence; longer pairs are not trained on")

    sets: ClassVar = {
        f"multi30k-{pair}": tuple(f"multi30k/{file}.{side}" for side in pair.split("-") for file in FILES)
        for pair in ("en-de", "de-en", "en-fr", "fr-en")
    }
    mapping: ClassVar = "encoder-decoder"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "bleu"
    also: ClassVar = ("perplexity",)

    def prepare(self):
        pairs = own_pairs(self.data) if self.own else self._published()
        if empty := [split for split in SPLITS if not pairs[split]]:
            raise UserError(Fault("no pair falls to this split", where=f"{self.data}, {name}") for name in empty)
        source, target = (Subwords.learnt([pair[side] for pair in pairs["train"]], self.pieces) for side in (0, 1))
        numbers = {name: [(source.numbers(a), target.numbers(b)) for a, b in rows] for name, rows in pairs.items()}
        most = self.longest
        numbers["train"] = [(a, b) for a, b in numbers["train"] if len(a) <= most and len(b) < most]
        if not numbers["train"]:
            what = f"no pair with at most {most} pieces on each side"
            raise UserError(Fault(what, where=f"{self.data}, train", remedy=f"longest: {2 * most}"))
        splits = {name: examples(rows, most, most) for name, rows in numbers.items()}
        texts = {name: [[answer] for _, answer in rows] for name, rows in pairs.items()}
        for name in ("valid", "test"):  # the training split needs none, and its batches are gathered the quicker
            splits[name] = Examples(**(vars(splits[name]) | {"references": texts[name]}))
        answers = [answer for _, answer in pairs["train"]]
        finalists = floors.most_matched(answers, 10) or answers[:1]
        constant, floor = floors.best_constant(finalists, texts["valid"], texts["test"], floors.bleu)
        steps, written = (max(getattr(e, side).shape[1] for e in splits.values()) for side in ("inputs", "targets"))
        shape = Shape(steps=steps, vocabulary=len(source), outputs=len(target), target_steps=written)
        return Content(shape, floor, splits, {"source": source.packed, "target": target.packed, "constant": constant})

    def _published(self):
        files = self.sets[self.data]
        lines = [sources.read(*file.split("/")).decode().splitlines() for file in files]
        return {
            split: list(zip(*sides, strict=True)) for split, *sides in zip(SPLITS, lines[:3], lines[3:], strict=True)
        }

    @cached_property
    def subwords(self) -> tuple[Subwords, Subwords]:
        """Pieces of the source and of the target language."""
        return Subwords(self.facts["source"]), Subwords(self.facts["target"])

    def ask(self, given):
        numbers = self.subwords[0].numbers(given.strip())
        if not numbers:
            raise UserError(Fault("no text to translate", allowed="a sentence"))
        return examples([(numbers, [])], self.longest, self.longest)

    def told(self, inputs):
        return self.subwords[0].text(inputs)

    def said(self, answer):
        return self.subwords[1].text(answer)
