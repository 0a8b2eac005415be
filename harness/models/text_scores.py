"""Scores on texts that a model writes by itself: sacreBLEU's BLEU, ROUGE, error rates by edit distance, diversity.

Answers are tokens (B, U); END, and anything that is no class or stands beyond it, is left out. `task.said` turns
them into the words that are compared with the references, as people wrote them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from harness.data.floors import rouge
from harness.data.read_sentences import words_of
from harness.data.text import edit_distance
from harness.models.scores import References, Score
from harness.tasks.base import END, Task

EDITED = ("edits", "due")


def sentences(task: Task, tokens_BU: Tensor) -> list[str]:
    """Each row in the user's words, up to its end."""
    rows = tokens_BU.detach().cpu().numpy()
    return [task.said(row[: _stop(row, task.written)]) for row in rows]


def _stop(row: np.ndarray, closed: bool) -> int:
    """Tokens before the end: END where the answer is written, nothing else where it is not (END is a blank there)."""
    over = (row < 0) | (row == END) if closed else row < 0
    return int(over.argmax()) if over.any() else len(row)


def right_answers(task: Task, targets: Tensor, references: References) -> Sequence[Sequence[str]]:
    """The references; where a task has none, the target in words is the only one."""
    return references if references is not None else [[text] for text in sentences(task, targets)]


class BLEU(Score):
    """Corpus BLEU (Papineni et al., ACL 2002) in percent, by sacreBLEU (Post, arXiv:1804.08771): defaults, case kept,
    13a tokens, exponential smoothing. Its counts add up over batches, its brevity penalty is of the whole."""

    def __init__(self, task: Task) -> None:
        super().__init__(("written", "due"))
        self.task = task
        for name in ("right", "found"):  # of n-grams, n = 1 to 4
            self.add_state(name, torch.zeros(4, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, answers: Tensor, targets: Tensor, references: References = None) -> None:
        """Add a batch: its n-grams, and the words written and due."""
        from sacrebleu import corpus_bleu

        known = right_answers(self.task, targets, references)
        # sacreBLEU takes first references, second ones, ...; None where a text has fewer
        streams: list[Any] = [
            [texts[i] if i < len(texts) else None for texts in known] for i in range(max(map(len, known)))
        ]
        batch = corpus_bleu(sentences(self.task, answers), streams)
        self.right += torch.tensor(batch.counts, device=self.right.device)
        self.found += torch.tensor(batch.totals, device=self.found.device)
        self.written += batch.sys_len
        self.due += batch.ref_len

    def compute(self) -> Tensor:
        """BLEU, 0 to 100."""
        from sacrebleu.metrics import BLEU as Reference

        right, found = ([int(count) for count in counts] for counts in (self.right, self.found))
        score = Reference.compute_bleu(right, found, int(self.written), int(self.due), smooth_method="exp").score
        return torch.tensor(score, dtype=torch.float64)


class Rouge(Score):
    """ROUGE (Lin, ACL workshop 2004), 0 to 1: mean F1 of stemmed words ("rouge1"), pairs of them ("rouge2") or their
    longest common subsequence ("rougeL") against the reference that is nearest by this kind, by Google's package.
    (Cachola et al. take the reference that is nearest by ROUGE-1 for all three, so their ROUGE-2 and -L are lower.)"""

    def __init__(self, kind: str, task: Task) -> None:
        super().__init__()
        self.kind, self.task = kind, task

    def update(self, answers: Tensor, targets: Tensor, references: References = None) -> None:
        """Add a batch."""
        known = right_answers(self.task, targets, references)
        self.total += sum(rouge(sentences(self.task, answers), known, self.kind))
        self.due += len(known)

    def compute(self) -> Tensor:
        """Mean over texts."""
        return self.total / self.due


class Distinct(Score):
    """Different runs of `size` words over the words written, in all answers together (Li et al., NAACL 2016,
    arXiv:1510.03055, who count all words under runs of every size). In lower case, a stop is a word of its own; no run
    crosses from an answer to the next. NaN where nothing was written."""

    seen: list[Tensor]

    def __init__(self, size: int, task: Task) -> None:
        super().__init__(("written",))
        self.size, self.task = size, task
        self.add_state("seen", [], dist_reduce_fx="cat")  # 64 bits of a hash of each run: what workers can gather

    def update(self, answers: Tensor, targets: Tensor, references: References = None) -> None:
        """Add a batch."""
        rows = [words_of(text) for text in sentences(self.task, answers)]
        runs = {" ".join(row[i : i + self.size]) for row in rows for i in range(len(row) - self.size + 1)}
        marks = [int.from_bytes(blake2b(run.encode(), digest_size=8).digest(), "big", signed=True) for run in runs]
        self.seen.append(torch.tensor(marks, dtype=torch.int64, device=self.written.device))
        self.written += sum(map(len, rows))

    def compute(self) -> Tensor:
        """Share."""
        return len(dim_zero_cat(self.seen).unique()) / self.written


class EditRate(Score):
    """Words written wrongly, left out or added, over the words due; against the nearest reference, of equally near
    ones the longest. Of phones it is the phone error rate."""

    def __init__(self, task: Task) -> None:
        super().__init__(EDITED)
        self.task = task

    def update(self, answers: Tensor, targets: Tensor, references: References = None) -> None:
        """Add a batch."""
        for said, known in zip(
            sentences(self.task, answers), right_answers(self.task, targets, references), strict=True
        ):
            edits, minus_due = min((edit_distance(said.split(), one.split()), -len(one.split())) for one in known)
            self.edits += edits
            self.due -= minus_due

    def compute(self) -> Tensor:
        """Rate: over 1 where more is written than is due."""
        return self.edits / self.due


class WrongAnswers(Score):
    """Share of answers that are none of the references."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def update(self, answers: Tensor, targets: Tensor, references: References = None) -> None:
        """Add a batch."""
        known = right_answers(self.task, targets, references)
        said = sentences(self.task, answers)
        self.total += sum(text not in texts for text, texts in zip(said, known, strict=True))
        self.due += len(said)

    def compute(self) -> Tensor:
        """Share."""
        return self.total / self.due


TEXT_SCORES: dict[str, Callable[[Task], Score]] = {
    "bleu": BLEU,
    "word_error_rate": EditRate,
    "phone_error_rate": EditRate,
    "pronunciation_error_rate": WrongAnswers,
    "rouge_1": partial(Rouge, "rouge1"),
    "rouge_2": partial(Rouge, "rouge2"),
    "rouge_l": partial(Rouge, "rougeL"),
    "distinct_1": partial(Distinct, 1),
    "distinct_2": partial(Distinct, 2),
}
"""Name -> score."""
