"""Summarization: say in a sentence what a text is about."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import ClassVar

from pydantic import Field

from harness.data import floors
from harness.data.read_answers import own_answered, scitldr
from harness.data.read_reports import reports
from harness.data.read_subwords import Subwords
from harness.errors import Fault, UserError
from harness.tasks._writing import WritingTask
from harness.tasks.base import SPLITS

CANDIDATES = 20
"""Summaries, of those most like the others, among which the floor looks for the best."""


class Summarization(WritingTask):
    """Summarization: write a summary of a text (encoder-decoder, ROUGE by free-running decoding).

    `scitldr`: abstracts of papers on machine learning and their summaries of one sentence, SciTLDR-A (Cachola, Lo,
    Cohan, Weld, Findings of EMNLP 2020); 1,992 / 619 / 618, the authors' split, with up to 4 summaries of each paper
    in validation and test. `reports`: synthetic; reports of matches, and who won (harness/data/read_reports.py).
    Or your own: lines of a text, a tab and its summary, or JSON with "source" and "target".
    Read are the first `longest` pieces of a text. Of a summary `longest_answer` are trained on; ROUGE compares what is
    written with the whole one, and with the nearest of several. Perplexity is that of the pieces of the first.
    Floor: ROUGE-1 of the best constant summary, of SciTLDR 0.266. `lead` in the facts is that of a text's first
    sentence, 0.314 there.
    """

    data: str = "scitldr"
    longest: int = Field(250, ge=1, le=10_000, description="pieces of a text that are read, from its beginning")
    longest_answer: int = Field(
        60, ge=2, le=10_000, description="most pieces of a summary that are trained on, END included"
    )

    sets: ClassVar = {"scitldr": ("scitldr/train.jsonl", "scitldr/dev.jsonl", "scitldr/test.jsonl"), "reports": ()}
    metric: ClassVar = "rouge_1"
    also: ClassVar = ("rouge_2", "rouge_l", "perplexity")

    def prepare(self):
        found = own_answered(self.data) if self.own else {"scitldr": scitldr, "reports": reports}[self.data]()
        summaries = [text for _, texts in found["train"] for text in texts]
        known = Subwords.learnt([*(source for source, _ in found["train"]), *summaries], self.pieces)
        # each summary of a text is trained on; elsewhere they are references of one example
        pairs = {
            split: [(a, b) for a, texts in found[split] for b in (texts if split == "train" else texts[:1])]
            for split in SPLITS
        }
        rows = {split: [(known.numbers(a), known.numbers(b)) for a, b in texts] for split, texts in pairs.items()}
        right = {split: [texts for _, texts in found[split]] for split in SPLITS[1:]}
        counted = [floors.stems(text) for text in summaries]
        if not any(counted):
            what = "no summary has a word that ROUGE counts"
            raise UserError(Fault(what, where=self.data, allowed="words of letters a to z and digits"))
        usual = [summaries[i] for i in floors.most_alike(counted, CANDIDATES)]
        constant, floor = floors.best_constant(usual, right["valid"], right["test"], _rouge)
        lead = _rouge([_first(source) for source, _ in found["test"]], right["test"])
        return replace(self.numbered(known, rows, right, {"constant": constant, "lead": lead}), floor=floor)

    def joined(self, texts):
        return [number for text in texts for number in text]


def _rouge(answers, references):
    return fmean(floors.rouge(answers, references, "rouge1"))


def _first(text):
    """The first sentence of a text: up to the first stop with a space behind it."""
    return text.partition(". ")[0]
