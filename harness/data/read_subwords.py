"""Subwords: frequent pieces of words, learnt from raw training text, that any text is written with and read back from.

Byte-pair encoding (Sennrich, Haddow, Birch, arXiv:1508.07909) by SentencePiece (Kudo, Richardson, arXiv:1808.06226).
Text is neither lowered nor normalised: but for repeated spaces, what is written is put together again without loss.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from harness.data.text import UNKNOWN
from harness.tasks.base import END


class Subwords:
    """A vocabulary of pieces; number END closes a text, number UNKNOWN stands for a character never seen."""

    def __init__(self, packed: str) -> None:
        """`packed`: a SentencePiece model in base64, as `learnt` made it."""
        self.packed = packed

    @classmethod
    def learnt(cls, texts: Iterable[str], most: int) -> Subwords:
        """Learn up to `most` pieces; a small text has fewer. The same text gives the same pieces, bit for bit."""
        import sentencepiece

        model = io.BytesIO()
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

    def text(self, numbers: Iterable[int]) -> str:
        """Return the text of pieces; END is nothing."""
        return str(self._model.decode([int(number) for number in numbers]))
