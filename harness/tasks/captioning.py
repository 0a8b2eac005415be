"""Captioning: say in a sentence what a picture shows."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

from pydantic import Field

from harness.data import floors, read_captions
from harness.data.prepared import Content
from harness.data.read_sentences import closed, sentence, spoken, words_of
from harness.data.text import vocabulary
from harness.late import np
from harness.tasks._prepared import PreparedTask
from harness.tasks.base import Examples, Shape

SCALE = 2 / 255
"""Of inputs, which are stored as half differences: 1 is the way from black to full colour."""
CANDIDATES = 20
"""Commonest sentences among which the floor looks for the best."""


class Captioning(PreparedTask):
    """Captioning: write a sentence about a picture (one-to-many, BLEU by free-running decoding).

    `nlvr`: human sentences that are true of rendered pictures (Suhr et al., ACL 2017; 1,646 pictures, and not the
    canonical split: see harness/data/read_captions.py). `shapes`: synthetic; one to three coloured shapes and sentences
    from templates, where validation and test show combinations that training does not. Or a folder of your own with
    pictures and captions.tsv. The picture is the one input step: mean colours of `rows` fields over its height and as
    many over its width as make them square, less those of the mean training picture, in 8 bits.
    Sentences are compared in lower case and without stops at their end, as is the custom for captions. Several
    sentences about one picture are its references, and each is an example of the training split.
    Floor: BLEU of the best constant sentence.
    """

    data: str = "nlvr"
    rows: int = Field(20, ge=1, le=256, description="fields over the height of a picture, whose mean colours are read")
    words: int = Field(10_000, ge=3, le=1_000_000, description="size of the vocabulary")

    sets: ClassVar = {
        "nlvr": ("nlvr/images.zip", "nlvr/test.json", "nlvr/dev.json", "nlvr/hidden.json"),
        "shapes": (),
    }
    mapping: ClassVar = "one-to-many"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "bleu"

    def prepare(self):
        read = {"nlvr": read_captions.nlvr, "shapes": read_captions.drawn}.get(self.data)
        found = read(self.rows) if read else read_captions.own(self.data, self.rows)
        said = {split: [[_plain(text) for text in one.sentences] for one in rows] for split, rows in found.items()}
        # each sentence of a training picture is an example; elsewhere they are references of one
        pairs = {
            split: [
                (one.colours, text, texts)
                for one, texts in zip(found[split], said[split], strict=True)
                for text in (texts if split == "train" else texts[:1])
            ]
            for split in found
        }
        words = vocabulary((text.split() for _, text, _ in pairs["train"]), self.words)
        mean = np.stack([one.colours for one in found["train"]]).mean(0).round().astype(np.uint8)
        splits = {
            split: Examples(
                np.stack([_beside(colours, mean) for colours, _, _ in rows]),
                closed([text.split() for _, text, _ in rows], words),
                np.ones(len(rows), np.int64),
                scale=SCALE,
                references=[[sentence(t.split()) for t in texts] for _, _, texts in rows],
            )
            for split, rows in pairs.items()
        }
        constants = floors.commonest([sentence(text.split()) for _, text, _ in pairs["train"]], CANDIDATES)
        right = {split: splits[split].references or [] for split in splits}
        constant, floor = floors.best_constant(constants, right["valid"], right["test"], floors.bleu)
        shape = Shape(
            steps=1,
            features=splits["train"].inputs.shape[2],
            outputs=len(words),
            target_steps=max(e.targets.shape[1] for e in splits.values()),
        )
        return Content(shape, floor, splits, {"words": words, "mean": mean.tolist(), "constant": constant})

    @cached_property
    def mean(self) -> np.ndarray:
        """Mean colours of the training pictures (rows, columns, 3), 0 to 255."""
        return np.array(self.facts["mean"], np.uint8)

    def ask(self, given):
        inputs = _beside(read_captions.ask(given, self.rows, self.mean.shape[1]), self.mean)[None]
        return Examples(inputs, np.zeros((1, 1), np.int32), np.ones(1, np.int64), scale=SCALE)

    def told(self, inputs):
        steps = inputs if inputs.dtype.kind == "i" else inputs / SCALE
        return read_captions.letters(self.mean + 2.0 * steps.reshape(self.mean.shape))

    def said(self, answer):
        return spoken(answer, self.facts["words"])


def _beside(colours: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Half the difference of colours (rows, columns, 3) from the mean picture, as one step (1, D) of int8."""
    return ((colours.astype(np.int16) - mean) // 2).astype(np.int8).reshape(1, -1)


def _plain(text: str) -> str:
    """A sentence as words with a space between, in lower case, without its stops at the end."""
    return " ".join(words_of(text.strip().rstrip(read_captions.STOPS)))
