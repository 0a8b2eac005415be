"""Subwords: frequent pieces of words, learnt from raw training text, that any text is written with and read back from.

Byte-pair encoding (Sennrich, Haddow, Birch, arXiv:1508.07909) by SentencePiece (Kudo, Richardson, arXiv:1808.06226).
Text is neither lowered nor normalised: but for repeated spaces, what is written is put together again without loss.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from harness.data.text import UNKNOWN, padded
from harness.errors import Fault, UserError
from harness.late import np
from harness.tasks.base import END, Examples

OTHERS = 3
"""Pieces that are no character of the text: its end, the unknown one, and the space."""
LONGEST = 1_000
"""Characters that SentencePiece is given at a time; it passes over what has more than 4,192 bytes."""


class Subwords:
    """A vocabulary of pieces; number END closes a text, number UNKNOWN stands for a character never seen."""

    def __init__(self, packed: str) -> None:
        """`packed`: a SentencePiece model in base64, as `learnt` made it."""
        self.packed = packed

    @classmethod
    def learnt(cls, texts: Iterable[str], most: int) -> Subwords:
        """Learn up to `most` pieces; a small text has fewer. The same text gives the same pieces, bit for bit.

        UserError where there is no text, or where it has more characters than there are to be pieces."""
        import sentencepiece

        texts, model = [part for text in texts for part in _short(text)], io.BytesIO()
        characters = len(set().union(*texts) - {" "}) + OTHERS
        if not texts:
            raise UserError(Fault("no text to learn pieces of", where="the training split"))
        if characters > most:
            what = f"pieces: {most:,} for a text of {characters - OTHERS:,} different characters"
            raise UserError(Fault(what, allowed=f"{characters:,} or more", remedy=f"pieces: {4 * characters}"))
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type="bpe",
            vocab_size=most,
            hard_vocab_limit=False,
            character_coverage=1.0,
            normalization_rule_name="identity",
            eos_id=END,
            unk_id=UNKNOWN,
            bos_id=-1,
            pad_id=-1,
            num_threads=1,
            minloglevel=2,
        )
        return cls(base64.b64encode(model.getvalue()).decode())

    @cached_property
    def _model(self) -> Any:
        import sentencepiece

        return sentencepiece.SentencePieceProcessor(model_proto=base64.b64decode(self.packed))

    def __len__(self) -> int:
        return int(self._model.get_piece_size())

    def numbers(self, text: str) -> list[int]:
        """Return a text in pieces, not closed."""
        return list(self._model.encode(text))

    def all_numbers(self, texts: Sequence[str]) -> list[list[int]]:
        """Return many texts in pieces, in half the time."""
        return list(self._model.encode(list(texts), num_threads=1))

    def text(self, numbers: Iterable[int]) -> str:
        """Return the text of pieces; END is nothing."""
        return str(self._model.decode([int(number) for number in numbers]))


def _short(text: str) -> Iterator[str]:
    """Yield a text in parts that are no longer than SentencePiece reads, parted between words where that can be."""
    while len(text) > LONGEST:
        cut = text.rfind(" ", 1, LONGEST) + 1 or LONGEST
        yield text[:cut]
        text = text[cut:]
    if text.strip():
        yield text


def plain(text: object) -> str:
    """Return a text with single spaces between its words; ValueError for what is empty or no text that people write.

    SentencePiece writes a space as U+2581 and reads it as one."""
    if not isinstance(text, str):
        raise ValueError(f"no text but {text!r:.40}")
    if odd := re.search("[\0\ud800-\udfff]", text):
        raise ValueError(f"character {odd[0]!a} in {text[:40]!r}")
    words = text.replace("\u2581", " ").split()
    if not words:
        raise ValueError("an empty text")
    return " ".join(words)


def examples(
    rows: Sequence[tuple[Sequence[int], Sequence[int]]], longest: int, written: int, size: int = 2**15
) -> Examples:
    """Return numbered pairs, what is read and what is written, as arrays. Of what is read `longest` pieces are kept; of
    what is written `written`, its END included. `size`: the larger vocabulary, which decides the bytes of a number."""
    dtype = np.int16 if size < 2**15 else np.int32
    inputs = padded([a[:longest] for a, _ in rows], END, dtype)
    targets = padded([[*b[: written - 1], END] for _, b in rows], -100, dtype)
    return Examples(inputs, targets, np.array([min(len(a), longest) for a, _ in rows], np.int64))
