"""Tasks that give each word of a sentence a tag."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import Counter, defaultdict
from functools import cached_property
from typing import ClassVar

from pydantic import Field

from harness.data.prepared import Content
from harness.data.read_columns import Sentence
from harness.data.text import UNKNOWN, numbered, padded, vocabulary
from harness.errors import Fault, UserError
from harness.late import np
from harness.tasks._prepared import PreparedTask
from harness.tasks.base import Examples, Shape, Split


def _shape(word: str) -> str:
    """Capitals, small letters and digits of a word, equal neighbours as one: `McDonald-2` is `XxXx-d`."""
    kinds = "".join("X" if c.isupper() else "x" if c.isalpha() else "d" if c.isdigit() else c for c in word)
    return re.sub(r"(.)\1+", r"\1", kinds)


PARTS = {
    "word": lambda word: word,
    "lower": str.lower,
    "prefix": lambda word: word[:3].lower(),
    "suffix1": lambda word: word[-1:].lower(),
    "suffix2": lambda word: word[-2:].lower(),
    "suffix3": lambda word: word[-3:].lower(),
    "shape": _shape,
}
"""What is read of a word, each from a vocabulary of its own; their embeddings are added, so that a word which training
lacks is tagged by its parts (as in Huang, Xu, Yu, arXiv:1508.01991)."""


class TaggingTask(PreparedTask):
    """Many-to-many over words. A subclass says where the sentences come from and how answers are scored."""

    words: int = Field(50_000, ge=3, le=1_000_000, description="most entries of each vocabulary")
    least: int = Field(2, ge=1, le=1_000, description="times that training must have an entry; rarer ones are unknown")
    parts: bool = Field(True, description="read prefix, suffixes and shape of each word besides the word")

    mapping: ClassVar = "many-to-many"

    @abstractmethod
    def sentences(self) -> dict[Split, list[Sentence]]:
        """Read words and tags of each split."""

    @abstractmethod
    def scored(self, answers: list[list[str]], due: list[list[str]]) -> float:
        """Score tags against those due by the task's metric: for what trivial taggers reach."""

    def prepare(self):
        found = self.sentences()
        rows = {split: [words for words, _ in pairs] for split, pairs in found.items()}
        readers = list(PARTS.values()) if self.parts else [PARTS["word"]]
        known = [vocabulary(([part(w) for w in words] for words in rows["train"]), self.words, self.least)
                 for part in readers]  # fmt: skip
        tags = sorted({tag for _, row in found["train"] for tag in row})
        number = {tag: i for i, tag in enumerate(tags)}
        splits = {}
        for split, pairs in found.items():
            inputs, lengths = self._numbered(rows[split], known)
            targets = padded([[number[tag] for tag in row] for _, row in pairs], -100, np.int16)
            splits[split] = Examples(inputs, targets, lengths)
        entries = sum(map(len, known))
        shape = Shape(max(e.inputs.shape[1] for e in splits.values()), len(tags), 0, entries, len(known))
        floor, lookup = self._trivial(found)
        return Content(shape, floor, splits, {"vocabularies": known, "tags": tags, "lookup": lookup})

    @staticmethod
    def _numbered(sentences: list[list[str]], known: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
        """Return tokens (N, T), or (N, T, K) where there are parts, and lengths; each vocabulary's numbers follow those
        of the one before it, and 0 is padding."""
        longest, first, columns = max(map(len, sentences)), 0, []
        for part, entries in zip(PARTS.values(), known, strict=False):
            numbers, lengths = numbered([[part(word) for word in words] for words in sentences], entries, longest)
            real = np.arange(longest) < lengths[:, None]
            columns.append(np.where(real, numbers + first, 0))
            first += len(entries)
        tokens = np.stack(columns, 2) if len(known) > 1 else columns[0]
        return tokens.astype(np.uint16 if first <= 2**16 else np.int32), lengths

    def _trivial(self, found: dict[Split, list[Sentence]]) -> tuple[float, float]:
        """What two taggers score on the test split that learn by counting: each word the commonest tag of all (the
        floor); each word its own commonest tag, the commonest of all where training lacks it."""
        by_word: dict[str, Counter] = defaultdict(Counter)
        for words, row in found["train"]:
            for word, tag in zip(words, row, strict=True):
                by_word[word][tag] += 1
        commonest = sum(by_word.values(), Counter()).most_common(1)[0][0]
        own = {word: counts.most_common(1)[0][0] for word, counts in by_word.items()}
        due = [row for _, row in found["test"]]
        looked_up = [[own.get(word, commonest) for word in words] for words, _ in found["test"]]
        return self.scored([[commonest] * len(row) for row in due], due), self.scored(looked_up, due)

    def ask(self, given):
        words = re.findall(r"[@#]?\w+(?:[-.'\u2019/&]\w+)*|[^\w\s]", given)
        if not words:
            raise UserError(Fault("no words", allowed="a sentence"))
        inputs, lengths = self._numbered([words], self.facts["vocabularies"])
        return Examples(inputs, np.full(inputs.shape[:2], -100, np.int16), lengths)

    @cached_property
    def _entries(self) -> list[str]:
        return [entry for entries in self.facts["vocabularies"] for entry in entries]

    def told(self, inputs):
        return " ".join(self._word(row) for row in inputs.reshape(len(inputs), -1))

    def _word(self, numbers: np.ndarray) -> str:
        """A word as the model reads it; of one that training lacks, what is known of it: `bl~ing`."""
        sizes = [len(entries) for entries in self.facts["vocabularies"]]
        firsts = np.cumsum([0, *sizes[:-1]])
        parts = {
            name: self._entries[n]
            for name, n, first in zip(PARTS, numbers, firsts, strict=False)
            if n - first > UNKNOWN
        }
        suffix = max((parts.get(f"suffix{n}", "") for n in (1, 2, 3)), key=len)
        made_up = f"{parts.get('prefix', '')}~{suffix}" if parts else "<unk>"
        return parts.get("word") or parts.get("lower") or made_up

    def said(self, answer):
        return " ".join(self.facts["tags"][int(tag)] for tag in answer)

    def shown(self, inputs, answer):
        words = self.told(inputs).split(" ")
        return " ".join(f"{word}/{tag}" for word, tag in zip(words, self.said(answer).split(), strict=True))
