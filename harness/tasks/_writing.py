"""Tasks that read a text and write another of the same language."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field

from harness.data.prepared import Content
from harness.data.read_subwords import Subwords, examples, plain
from harness.errors import Fault, UserError
from harness.tasks._prepared import PreparedTask
from harness.tasks.base import SPLITS, Shape, Split

Numbered = dict[Split, list[tuple[list[int], list[int]]]]
"""What is read and what is written, in numbers of pieces."""
Right = dict[Split, list[list[str]]]
"""All right answers to each example of a split, for scores that read texts."""


class WritingTask(PreparedTask):
    """Encoder-decoder over byte-pair pieces of one vocabulary, learnt from what training reads and writes.

    A subclass reads the texts, says how the answers are scored and what a guess scores.
    """

    pieces: int = Field(4_000, ge=50, le=100_000, description="most pieces of the vocabulary")
    longest: int = Field(ge=1, le=10_000, description="pieces that are read")
    longest_answer: int = Field(ge=2, le=10_000, description="pieces of an answer, its end included")

    mapping: ClassVar = "encoder-decoder"
    objective: ClassVar = "cross-entropy"
    shared_symbols: ClassVar = True

    @abstractmethod
    def joined(self, texts: Sequence[list[int]]) -> list[int]:
        """Return what is read of several texts, in numbers of pieces: a user gives each in a line."""

    def numbered(self, known: Subwords, rows: Numbered, references: Right, facts: dict[str, Any]) -> Content:
        """Return numbered pairs as prepared data without a floor."""
        if empty := [split for split in SPLITS if not rows[split]]:
            raise UserError(Fault("no example falls to this split", where=f"{self.data}, {name}") for name in empty)
        splits = {split: examples(rows[split], self.longest, self.longest_answer, len(known)) for split in SPLITS}
        splits |= {split: replace(splits[split], references=texts) for split, texts in references.items()}
        steps, written = (max(getattr(e, side).shape[1] for e in splits.values()) for side in ("inputs", "targets"))
        shape = Shape(steps=steps, vocabulary=len(known), outputs=len(known), target_steps=written)
        return Content(shape, math.nan, splits, {"pieces": known.packed, **facts})

    @cached_property
    def subwords(self) -> Subwords:
        """The vocabulary."""
        return Subwords(self.facts["pieces"])

    def ask(self, given):
        try:
            texts = [plain(line) for line in given.split("\n") if line.strip()] or [plain("")]
        except ValueError as error:
            raise UserError(Fault(str(error), where="--input", allowed="a text")) from None
        read = self.joined([self.subwords.numbers(text) for text in texts])
        return examples([(read, [])], self.longest, self.longest_answer, len(self.subwords))

    def told(self, inputs):
        return self.subwords.text(inputs)

    def said(self, answer):
        return self.subwords.text(answer)
