"""Samples: what a trained model answers to a few examples, in the words of its task.

A stream that predicts its own input goes on from the beginning of a document; every other task answers examples of a
split. Nothing here draws from torch's generator or leaves a trace in the model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from harness.data.batches import Batch, due
from harness.models.generate import generate
from harness.models.sequence import SequenceModel
from harness.tasks.base import END, Examples, Task
from harness.training.module import RecurrentModule

COUNT = 5
PROMPT, WRITTEN = 32, 64  # steps of a stream that are read, and that are written
MOST = 1_700  # characters of a text: a picture of 20 rows of 80 is not cut


def continues(task: Task) -> bool:
    """Whether a task goes on from what it reads."""
    return task.stream and task.autoregressive and task.objective in ("cross-entropy", "binary-cross-entropy")


def observed(module: RecurrentModule, examples: Examples) -> str:
    """Return JSON: a few examples of a split, each with what was given, wanted and got."""
    task = module.task
    found: Iterable[tuple[str, str, str]]
    if continues(task):
        found = _continued(module, examples)
    else:
        examples = _beginning(examples) if task.stream else examples
        index = spread(len(examples))
        got = answers(module, examples, index)
        triples = zip(index, wanted(task, examples, index), got, strict=True)
        found = [
            (task.told(read := given(examples, i)), right, task.shown(read, answer)) for i, right, answer in triples
        ]
    rows = [dict(zip(("given", "wanted", "got"), map(_short, texts), strict=True)) for texts in found]
    return json.dumps(rows, ensure_ascii=False)


def spread(count: int) -> np.ndarray:
    """A few places in a split, from its first example to its last."""
    return np.unique(np.linspace(0, count - 1, COUNT).astype(int))


def given(examples: Examples, row: int) -> np.ndarray:
    """Real steps of one example, as they are stored."""
    return np.asarray(examples.inputs[row][: int(examples.lengths[row])])


def wanted(task: Task, examples: Examples, index: Sequence[int] | np.ndarray) -> list[str]:
    """The right answers in words: the first reference, or else the target."""
    if examples.references is not None:
        return [next(iter(examples.references[int(i)]), "") for i in index]
    return [task.shown(given(examples, int(i)), _only_due(task, np.asarray(examples.targets[i]))) for i in index]


def answers(module: RecurrentModule, examples: Examples, index: Sequence[int] | np.ndarray) -> list[np.ndarray]:
    """Return what the model answers to examples by itself, in the form of their targets, nothing that is not due."""
    task, batch = module.task, Batch.of(examples, np.asarray(index))
    with _quiet(module), module.arithmetic.forward():
        raw = module.model.answer(batch)[0].float().cpu() if task.objective == "mse" else module.model.answer(batch)[0]
    rows = [np.asarray(row) for row in _decided(task, raw.detach().cpu())]
    if task.mapping != "many-to-many" or task.objective == "ctc":
        return [_only_due(task, row) for row in rows]
    return [row[_asked(examples, int(i))] for row, i in zip(rows, index, strict=True)]


def _asked(examples: Examples, row: int) -> np.ndarray:
    """The real steps of an example that are due; all of them where a user gave it, for then no target is known."""
    length = int(examples.lengths[row])
    steps = np.flatnonzero(due(np.asarray(examples.targets[row][:length])).reshape(length, -1).any(1))
    return steps if len(steps) else np.arange(length)


def _decided(task: Task, raw: Tensor) -> Tensor:
    """Scores to answers: the likeliest class, 0 or 1, a value; what is decided already stays."""
    if task.written or task.objective in ("ctc", "crf", "mse"):
        return raw
    return (raw > 0).to(torch.float32) if task.objective == "binary-cross-entropy" else raw.argmax(-1)


def _only_due(task: Task, answer: np.ndarray) -> np.ndarray:
    """An answer up to its END, without what is no class."""
    if answer.ndim == 0:
        return answer
    if task.written:
        over = (answer < 0) | (answer == END)
        return answer[: int(over.argmax()) if over.any() else len(answer)]
    if task.mapping == "many-to-one" and task.objective != "ctc":
        return answer
    return answer[due(answer).reshape(len(answer), -1).all(1)]


def _beginning(examples: Examples) -> Examples:
    """The first steps of each document of a stream."""
    inputs, targets = examples.inputs[:, :WRITTEN], examples.targets[:, :WRITTEN]
    return Examples(inputs, targets, np.minimum(examples.lengths, WRITTEN), examples.scale)


def _continued(module: RecurrentModule, examples: Examples) -> Iterator[tuple[str, str, str]]:
    """What was read, what comes next in the text, and what the model writes instead."""
    task = module.task
    whole, targets, length = examples.inputs[0], examples.targets[0], int(examples.lengths[0])
    read = 1 if task.document else max(1, min(PROMPT, length // 2))
    steps = task.document or min(WRITTEN, length - read)
    prompt, count = np.asarray(whole[:read]), COUNT if task.document else 1
    right = np.asarray(targets[read - 1 : read - 1 + steps])
    for answer in continued(module, np.stack([prompt] * count), steps):
        yield task.told(prompt), task.said(_only_due(task, right)), task.said(answer)


def continued(
    module: RecurrentModule, prompts: np.ndarray, steps: int, temperature: float = 1.0, seed: int = 0
) -> np.ndarray:
    """Let the model go on from prompts (B, T, ...) by `steps` steps."""
    assert isinstance(module.model, SequenceModel), "a stream has one model"
    with _quiet(module), module.arithmetic.forward():
        return generate(module.model, module.task, prompts, steps, temperature, seed)


@contextmanager
def _quiet(module: RecurrentModule) -> Iterator[None]:
    """No dropout and no gradient inside; afterwards as it was."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)


def _short(text: str) -> str:
    return text if len(text) <= MOST else text[: MOST - 2] + " …"
