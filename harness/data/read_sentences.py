"""Sentences as lower-case words, and words as sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from harness.data.text import SPECIAL, numbered, padded
from harness.late import np
from harness.tasks.base import END

WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, an apostrophe kept inside, each other sign a word of its own."""
    return WORD.findall(text.lower().replace("\u2019", "'"))


def sentence(words: Iterable[str]) -> str:
    """Return words as a sentence: no space before a stop or behind an opening bracket, none around a hyphen."""
    text = re.sub(r" ([,.!?;:%)\]}])", r"\1", " ".join(words))
    return re.sub(r"(?<=\w) ([-/]) (?=\w)", r"\1", re.sub(r"([(\[{$#]) ", r"\1", text))


def spoken(numbers: np.ndarray, words: Sequence[str]) -> str:
    """Return numbered words as a sentence, up to END; what is negative is not due."""
    known = [int(number) for number in numbers if number >= 0]
    return sentence(words[number] for number in (known[: known.index(END)] if END in known else known))


def closed(texts: Sequence[Sequence[str]], words: Sequence[str]) -> np.ndarray:
    """Return targets (N, U): numbers of the words, END, then -100; what the vocabulary lacks is the unknown word."""
    tokens, lengths = numbered(texts, words, max(map(len, texts), default=0))
    return padded([[*row[:n], END] for row, n in zip(tokens.tolist(), lengths, strict=True)], -100)


def written(texts: Iterable[Sequence[str]]) -> list[list[str]]:
    """Return texts without words that stand for something else, so that a user's "<end>" is no END."""
    return [[word for word in text if word not in SPECIAL] for text in texts]
