"""The next letter after a few: what each letter seen before is worth."""

from typing import ClassVar

from pydantic import Field

from harness.data.read_library import SYMBOLS, symbols, unigram_bits
from harness.tasks.base import SPLITS, Examples, Shape, Task


class NextLetter(Task):
    """Next letter: predict the character that follows `context` characters of real text (bits per character).

    Shannon, "Prediction and entropy of printed English", Bell System Technical Journal 30 (1951): the more letters are
    seen, the better the next is predicted. Text and floor are those of the task autocomplete; places are drawn from
    it, for every context the same ones.
    """

    context: int = Field(16, ge=1, le=256)
    characters: int = Field(300_000, ge=10_000, le=5_000_000)
    train_examples: int = Field(20_000, ge=1)
    held_out_examples: int = Field(4_000, ge=1)

    mapping: ClassVar = "many-to-one"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "bits_per_character"

    @property
    def shape(self):
        return Shape(steps=self.context, vocabulary=SYMBOLS, outputs=SYMBOLS)

    def load(self, split, seed):
        import numpy as np

        (text,) = symbols(split, self.characters, joined=True)
        n, own = (self.train_examples, seed) if split == "train" else (self.held_out_examples, 0)
        answers = np.random.default_rng([SPLITS.index(split), own]).integers(256, len(text), n)
        inputs = text[answers[:, None] + np.arange(-self.context, 0)]
        return Examples(inputs, text[answers], np.full(n, self.context))

    def floor(self):
        return unigram_bits(self.characters, joined=True)
