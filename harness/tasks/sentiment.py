"""Sentiment of a sentence: the classic of sequence classification."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from harness.data import sources
from harness.data.prepared import Content
from harness.data.text import numbered, vocabulary
from harness.tasks._prepared import PreparedTask
from harness.tasks.base import SPLITS, Examples, Shape

FILES = {"sst2": "stsa.binary", "sst5": "stsa.fine"}


class Sentiment(PreparedTask):
    """Sentiment: say how a sentence from a film review judges (many-to-one, accuracy).

    Stanford Sentiment Treebank (Socher et al., EMNLP 2013), whole sentences with the canonical splits: `sst2` (two
    classes, 6,920 / 872 / 1,821) or `sst5` (five, 8,544 / 1,101 / 2,210).
    The feed-forward contrast is a bag of embeddings.
    """

    data: str = "sst2"
    words: int = Field(20_000, ge=3, le=1_000_000, description="size of the vocabulary")

    sets: ClassVar = {
        name: tuple(f"sst/{stem}.{part}" for part in ("train", "dev", "test")) for name, stem in FILES.items()
    }
    mapping: ClassVar = "many-to-one"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "accuracy"

    def prepare(self):
        rows = {}
        for split, file in zip(SPLITS, self.sets[self.data], strict=True):
            lines = sources.read(*file.split("/")).decode().splitlines()
            rows[split] = [(line[2:].split(), int(line[0])) for line in lines]
        words = vocabulary((text for text, _ in rows["train"]), self.words)
        splits = {}
        for split, pairs in rows.items():
            inputs, lengths = numbered([text for text, _ in pairs], words, 200)
            splits[split] = Examples(inputs, np.array([label for _, label in pairs], np.int64), lengths)
        commonest = np.bincount(splits["train"].targets).argmax()
        classes = int(splits["train"].targets.max()) + 1
        shape = Shape(steps=max(e.inputs.shape[1] for e in splits.values()), vocabulary=len(words), outputs=classes)
        return Content(shape, float((splits["test"].targets == commonest).mean()), splits, {"words": words})
