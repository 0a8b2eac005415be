"""Autocomplete: a character language model on real text, the task of streams."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from harness.data.library import SHARES, SYMBOLS, symbols, unigram_bits
from harness.tasks.base import Examples, Shape, Task


class Autocomplete(Task):
    """Autocomplete: predict the next character of a text from all before it (streams, bits per character).

    Graves, arXiv:1308.0850; Karpathy, Johnson, Li, arXiv:1506.02078. `data: stdlib` is the source code of this
    Python's standard library, split by file: a fixed hash of a file's path decides its split and its place. So the text
    differs between Python versions, and a record's `data_sha256` says which it was. `documents: joined` reads a split
    as one text; `files` starts each file with a fresh state.
    """

    data: Literal["stdlib"] = "stdlib"
    characters: int = Field(1_000_000, ge=1_000, le=5_000_000)
    """Of all splits together: 80 % train, 10 % valid, 10 % test."""
    documents: Literal["joined", "files"] = "joined"

    mapping: ClassVar = "many-to-many"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "bits_per_character"
    stream: ClassVar = True
    autoregressive: ClassVar = True

    @property
    def shape(self):
        return Shape(steps=round(self.characters * SHARES["train"]), outputs=SYMBOLS, vocabulary=SYMBOLS)

    def load(self, split, seed):
        import numpy as np

        texts = symbols(split, self.characters, self.documents == "joined")
        longest = max(map(len, texts)) - 1
        inputs = np.zeros((len(texts), longest), np.int64)
        targets = np.full((len(texts), longest), -100)
        for row, text in enumerate(texts):
            inputs[row, : len(text) - 1], targets[row, : len(text) - 1] = text[:-1], text[1:]
        return Examples(inputs, targets, np.array([len(text) - 1 for text in texts]))

    def floor(self):
        return unigram_bits(self.characters, self.documents == "joined")
