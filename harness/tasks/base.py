"""The contract of a task: what goes in, what is due, how it is scored and what a guess scores.

A task is a declaration with numpy data. Its file imports no torch: loss and metric are named from the vocabularies
of `harness/models/objectives.py` and `harness/record.py`, so that `harness show` counts parameters in an instant.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from harness.errors import Fault, UserError
from harness.registry import Plugin

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from harness.references import Reference

Mapping = Literal["one-to-one", "one-to-many", "many-to-one", "many-to-many", "encoder-decoder"]
Objective = Literal["cross-entropy", "mse", "binary-cross-entropy", "ctc", "crf"]
Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
END = 0
"""The class that closes each target of one-to-many and encoder-decoder."""


@dataclass(frozen=True)
class Shape:
    """Sizes that decide a model: the longest input, its width or vocabulary, and the width of the answer."""

    steps: int
    outputs: int
    features: int = 0  # D of inputs (N, T, D); 0 where the input is tokens
    vocabulary: int = 0  # V of token inputs (N, T); 0 where the input is features
    columns: int = 1  # K of token inputs (N, T, K), whose embeddings are added; 1: (N, T)
    target_steps: int = 0  # the longest target, its END included, where it has steps of its own; 0 otherwise
    blank: bool = False  # class 0 is CTC's blank, and targets (N, U) are classes from 1 on, not closed by END


@dataclass(frozen=True)
class Usual:
    """Steps read and symbols written, of the mean training example and of one in a batch with its padding."""

    read: float
    written: float
    read_padded: float
    written_padded: float


@dataclass(frozen=True)
class Examples:
    """One split as numpy arrays, batch first. Prepared data are memory-mapped and stored in few bytes.

    inputs:  (N, T, D) floats, or bytes that are multiplied by `scale`; or (N, T) or (N, T, K) integer tokens.
    targets: many-to-one (N,) integer classes or (N, O) float32 values; many-to-many (N, T) or (N, T, O).
             A class of -100 is not due and counts neither in the loss nor in the score; nor is a value of NaN, or of
             -100 where values are stored as int8.
             one-to-many, encoder-decoder (N, U) integer classes: each row closed by END, then -100.
             objective "ctc": (N, U) integer classes from 1 on, then -100; class 0 is the blank.
    lengths: (N,) real steps of each example, at most T; what lies beyond is padding.
    references: for scores on text, the right answers to each example as people wrote them.
    digest: of data that were checked when they were prepared, their sha256; they are not read through again.
    """

    inputs: np.ndarray
    targets: np.ndarray
    lengths: np.ndarray
    scale: float = 0.0
    references: Sequence[Sequence[str]] | None = None
    digest: str = ""

    def __len__(self) -> int:
        return len(self.inputs)

    def sha256(self) -> str:
        """Hash of the content: the data a number is bound to."""
        if self.digest:
            return self.digest
        digest = hashlib.sha256()
        for array in (self.inputs, self.targets, self.lengths):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(array.data if array.flags.c_contiguous else array.tobytes())  # a copy costs memory
        if self.scale or self.references is not None:
            digest.update(json.dumps([self.scale, self.references and [list(r) for r in self.references]]).encode())
        return digest.hexdigest()


class Task(Plugin):
    """What is to be learned. A subclass fills the members below; its annotated fields are its settings."""

    mapping: ClassVar[Mapping]
    objective: ClassVar[Objective]
    """Training loss, by name. A task with a choice makes it a property."""
    metric: ClassVar[str]
    """Score on held-out data, by name in harness.metrics.METRICS, which also says which direction is better."""
    also: ClassVar[tuple[str, ...]] = ()
    """Further scores on the test split, by name."""
    stream: ClassVar[bool] = False
    """True where examples follow each other in time, so that the state is carried and every window is an update."""
    autoregressive: ClassVar[bool] = False
    """True where the answer at a step is a later input, so that a backward direction would see it."""
    shared_symbols: ClassVar[bool] = False
    """True where a number stands for one symbol in what is read and in what is written, so that it can be copied."""
    writes: ClassVar[str] = ""
    """Suffix of the files that `write` makes of answers (".png"); "" where answers are words alone."""

    @property
    def references(self) -> tuple[Reference, ...]:
        """Published numbers on these data, with size and protocol (harness/references/)."""
        from harness.references import ledger

        return ledger(self.plugin_name()).of(self.model_dump())

    @property
    def document(self) -> int:
        """Steps of every document of an autoregressive task where all have one length, such as images; 0: any."""
        return 0

    @property
    def over_steps(self) -> bool:
        """True where the loss is over all answers of a sequence together, so that no window of it stands alone."""
        return self.objective in ("ctc", "crf")

    @property
    def written(self) -> bool:
        """True where the answer has steps of its own, which a decoder writes one by one."""
        return self.mapping in ("one-to-many", "encoder-decoder")

    def useful_steps(self, examples: Examples) -> np.ndarray:
        """Steps of each example (N,) that are no padding: those that are read and those that are written."""
        return examples.lengths + ((examples.targets != -100).sum(1) if self.written else 0)

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Sizes of input and answer, known without loading anything."""

    def usual(self, batch_size: int, together: bool) -> Usual:
        """What an update is likely to hold, for a forecast of its cost; `together`: examples of one length share it."""
        read, written = self.shape.steps, self.shape.target_steps
        return Usual(read, written, read, written)

    @abstractmethod
    def load(self, split: Split, seed: int) -> Examples:
        """Return one split. Only the synthetic training split may depend on `seed`; validation and test never do."""

    def absent(self) -> list[Fault]:
        """What must be brought to this machine before data can be read, and how."""
        return []

    @abstractmethod
    def floor(self) -> float:
        """What the best guess that ignores the input scores on the test split, by formula or by count; of series what
        the last value scores that was read."""

    def ask(self, given: str) -> Examples:
        """Return one example, without an answer, of what a user types: a text, or the path of a file."""
        raise UserError(Fault(f"task {self.plugin_name()!r} takes no input of a user", remedy="--index 0"))

    def told(self, inputs: np.ndarray) -> str:
        """What is read, in the user's words: real steps (T, ...) of one example."""
        return " ".join(f"{value:.3g}" for value in np_flat(inputs)[:12]) + (" ..." if inputs.size > 12 else "")

    def said(self, answer: np.ndarray) -> str:
        """An answer in the user's words: what `Examples.targets` hold for one example, nothing that is not due."""
        return " ".join(f"{value:.3g}" for value in np_flat(answer)[:12]) + (" ..." if answer.size > 12 else "")

    def shown(self, inputs: np.ndarray, answer: np.ndarray) -> str:
        """An answer together with what it answers, where it says little alone: word/TAG, not TAG."""
        return self.said(answer)

    def write(self, path: Path, answers: Sequence[np.ndarray]) -> None:
        """Write answers, as `said` takes them, to a file that shows or plays them side by side."""
        raise UserError(Fault(f"answers of task {self.plugin_name()!r} are words, which go into no file"))


def np_flat(array: np.ndarray) -> list[float]:
    """Numbers of an array, in order."""
    return [float(value) for value in array.reshape(-1)[:13]]
