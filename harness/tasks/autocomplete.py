"""Autocomplete: a language model of real text, the task of streams."""

from __future__ import annotations

import math
import re
import sys
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from harness.data import read_library, read_text, sources
from harness.data.prepared import Content
from harness.data.read_text import LINE_END, Text, penn_characters, penn_words
from harness.late import np
from harness.tasks._prepared import PreparedTask
from harness.tasks.base import SPLITS, Examples, Shape

SHAKESPEARE = (0.87, 0.03, 0.1)
UNITS = {"bits_per_character": math.log(2), "cross_entropy": 1.0}


class Autocomplete(PreparedTask):
    """Autocomplete: predict the next character or word of a text from all before it (streams, bits per character).

    Graves, arXiv:1308.0850; Karpathy, Johnson, Li, arXiv:1506.02078.
    `stdlib`: source code of this Python's standard library, split by file: a fixed hash of a file's path decides its
    split and its place. So the text differs between Python versions, and a record's `data_sha256` says which it was.
    `documents: joined` reads a split as one text; `files` starts each file with a fresh state.
    `ptb-word`: Penn Treebank as Mikolov et al. (Interspeech 2010) prepared it, 10,000 words with a symbol at the end
    of each line (perplexity). `ptb-char`: the same text by character.
    `tinyshakespeare`: Karpathy's char-rnn (2015), nats per character (cross-entropy). The test split is the last 10 %,
    nanoGPT's; validation is the last 3 % before it, and training the first 87 %, where nanoGPT trains on 90 %.
    Your own texts: train.txt, valid.txt and test.txt in a folder, or any files, parted 80 : 10 : 10 by position.
    """

    data: str = "stdlib"
    characters: int = Field(1_000_000, ge=1_000, le=5_000_000, description="of stdlib: 80 % train, 10 % valid and test")
    documents: Literal["joined", "files"] = Field("joined", description="of stdlib")
    words: int = Field(0, ge=0, le=1_000_000, description="of your own texts: read words, so many known; 0: characters")

    sets: ClassVar = {
        "stdlib": (),
        "ptb-word": tuple(f"ptb/ptb.{split}.txt" for split in SPLITS),
        "ptb-char": tuple(f"ptb/ptb.{split}.txt" for split in SPLITS),
        "tinyshakespeare": ("tinyshakespeare/input.txt",),
    }
    mapping: ClassVar = "many-to-many"
    objective: ClassVar = "cross-entropy"
    stream: ClassVar = True
    autoregressive: ClassVar = True

    @model_validator(mode="after")
    def _settings_of_other_data(self) -> Autocomplete:
        given = {name for name in ("characters", "documents", "words") if self.model_fields_set & {name}}
        idle = given - ({"characters", "documents"} if self.data == "stdlib" else {"words"} if self.own else set())
        changed = sorted(name for name in idle if getattr(self, name) != type(self).model_fields[name].default)
        if changed:
            raise ValueError(f"{', '.join(changed)}: has no meaning for data {self.data!r}")
        if self.words == 1:
            raise ValueError("words: 1 would know the unknown word alone; allowed: 0, or 2 to 1,000,000")
        return self

    @property
    def in_words(self) -> bool:
        """Whether symbols are words."""
        return self.data == "ptb-word" or self.words > 0

    @property
    def metric(self) -> str:  # type: ignore[override]  # one of three, by the field's habit
        """Perplexity of words; of characters bits, or nats where that is what is published."""
        if self.in_words:
            return "perplexity"
        return "cross_entropy" if self.data == "tinyshakespeare" else "bits_per_character"

    def key(self):
        return {**super().key(), **({"python": [sys.version, sys.base_prefix]} if self.data == "stdlib" else {})}

    def prepare(self):
        if self.data == "stdlib":
            joined = self.documents == "joined"
            documents = {split: read_library.symbols(split, self.characters, joined) for split in SPLITS}
            known = [read_text.UNKNOWN, *read_library.ALPHABET]
        else:
            texts = self._texts()
            most = 10_000 if self.data == "ptb-word" else self.words
            train = texts["train"]
            known = read_text.words(penn_words(train), most) if most else read_text.characters(train)
            numbers = {s: read_text.numbered(penn_words(t) if most else t, known) for s, t in texts.items()}
            read_text.refuse_short(numbers, self.data, "words" if most else "characters")
            documents = {split: [text] for split, text in numbers.items()}
        splits = {split: read_text.next_symbol(found) for split, found in documents.items()}
        shape = Shape(max(e.inputs.shape[1] for e in splits.values()), outputs=len(known), vocabulary=len(known))
        nats = read_text.unigram_nats(splits["train"], splits["test"], len(known))
        floor = math.exp(nats) if self.metric == "perplexity" else nats / UNITS[self.metric]
        return Content(shape, floor, splits, {"symbols": known})

    def _texts(self) -> Text:
        if self.own:
            return read_text.own_text(self.data)
        texts = [sources.read(*file.split("/")).decode() for file in self.sets[self.data]]
        if self.data == "tinyshakespeare":
            return read_text.cut(texts[0], SHAKESPEARE)
        return dict(zip(SPLITS, map(penn_characters, texts) if self.data == "ptb-char" else texts, strict=True))

    def ask(self, given):
        """Go on after this text; after an empty one, as after the end of a line."""
        text = given.replace(" ", "_") if self.data == "ptb-char" else given
        symbols = list(penn_words(text))[: None if text.endswith("\n") else -1] if self.in_words else text
        known = self.facts["symbols"]
        start = [LINE_END] if self.in_words else ["\n"] if "\n" in known else known[1:2]
        inputs = read_text.numbered(symbols or start, known)[None]
        return Examples(inputs, np.full_like(inputs, -100), np.array([inputs.shape[1]]))

    def said(self, answer):
        symbols = [self.facts["symbols"][i] for i in answer]
        if self.in_words:
            return re.sub(" ?\n ?", "\n", " ".join("\n" if symbol == LINE_END else symbol for symbol in symbols))
        return "".join(symbols).replace("_", " ") if self.data == "ptb-char" else "".join(symbols)

    def told(self, inputs):
        return self.said(inputs)
