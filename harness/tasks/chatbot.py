"""Chatbot: answer what was said."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from harness.data import floors
from harness.data.read_answers import own_dialogues, self_dialogue
from harness.data.read_subwords import Subwords
from harness.late import np
from harness.tasks._writing import WritingTask
from harness.tasks.base import END


class Chatbot(WritingTask):
    """Chatbot: say the next turn of a dialogue (encoder-decoder, perplexity; Vinyals and Le, arXiv:1506.05869).

    `self-dialogue`: 24,155 dialogues about films, music and sport, each written by one person who plays both sides
    (Fainberg et al., arXiv:1809.06641). No split is canonical; ours is by a hash, 90 / 5 / 5 % of the dialogues. Or
    your own: a dialogue a line, turns with a tab between them, or JSON with "turns".
    Every turn but the first is an answer, to the `turns` turns before it, of which the last `longest` pieces are read;
    one of more than `longest_answer` pieces is read and not asked for, in any split. Perplexity is that of pieces, the
    end included, so other `pieces` give another; distinct-1 and distinct-2 are of what the model writes by itself.
    Floor: perplexity of answers given only the pieces before in the answer itself, by counts of up to five in a row
    (Kneser-Ney): what can be said without having listened.
    """

    data: str = "self-dialogue"
    turns: int = Field(2, ge=1, le=100, description="turns before the answer that are read")
    longest: int = Field(60, ge=1, le=10_000, description="pieces of those turns that are read, up to the last one")
    longest_answer: int = Field(
        30, ge=2, le=10_000, description="most pieces of an answer that is asked for, END included"
    )

    sets: ClassVar = {"self-dialogue": ("self_dialogue/dialogues.jsonl",)}
    metric: ClassVar = "perplexity"
    also: ClassVar = ("distinct_1", "distinct_2")

    def prepare(self):
        found = own_dialogues(self.data) if self.own else self_dialogue()
        known = Subwords.learnt([turn for turns in found["train"] for turn in turns], self.pieces)
        rows = {split: list(self._pairs(dialogues, known)) for split, dialogues in found.items()}
        content = self.numbered(known, rows, {}, {})
        train, test = (content.splits[split].targets for split in ("train", "test"))
        nats = -np.log(floors.next_symbol(train, test, len(known))).mean()
        return replace(content, floor=math.exp(nats))

    def _pairs(self, dialogues, known):
        """Yield what is read and what is written, for each turn that is asked for."""
        numbers = iter(known.all_numbers([turn for turns in dialogues for turn in turns]))
        for turns in dialogues:
            read = [next(numbers) for _ in turns]
            for i, answer in enumerate(read):
                if i and len(answer) < self.longest_answer:
                    yield self.joined(read[max(0, i - self.turns) : i]), answer

    def joined(self, texts):
        """The last turns, with END between them."""
        last = texts[-self.turns :]
        return [number for turn in last for number in (END, *turn)][1:][-self.longest :]

    def told(self, inputs):
        ends = [*np.flatnonzero(inputs == END), len(inputs)]
        return "\n".join(self.subwords.text(inputs[a:b]) for a, b in zip([0, *ends], ends, strict=False))
