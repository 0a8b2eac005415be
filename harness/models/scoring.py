"""The scores of all tasks by their names in METRICS."""

from __future__ import annotations

import math
from collections.abc import Callable

from harness.models.entity_score import EntityF1
from harness.models.scores import (
    Accuracy,
    CrossEntropy,
    NatsPerSequence,
    NatsPerStep,
    Perplexity,
    Score,
    SquaredError,
    WrittenAccuracy,
)
from harness.models.text_scores import TEXT_SCORES
from harness.tasks.base import Task


def _nats_per_image(task: Task) -> Score:
    return NatsPerSequence(task.shape.steps * (task.shape.outputs if task.objective == "binary-cross-entropy" else 1))


SCORES: dict[str, Callable[[Task], Score]] = {
    "accuracy": lambda task: Accuracy(),
    "cross_entropy": lambda task: CrossEntropy(),
    "bits_per_character": lambda task: CrossEntropy(unit=math.log(2)),
    "perplexity": lambda task: Perplexity(),
    "nats_per_frame": lambda task: NatsPerStep(),
    "nats_per_image": _nats_per_image,
    "token_accuracy": lambda task: WrittenAccuracy(whole=False),
    "sequence_accuracy": lambda task: WrittenAccuracy(whole=True),
    "mse": lambda task: SquaredError(),
    "skill": lambda task: SquaredError(task.floor()),
    "entity_f1": EntityF1,
    **TEXT_SCORES,
}


def score(name: str, task: Task) -> Score:
    """Return a fresh score of a task's by its name in METRICS; feed it with `update(answers, targets, references)`."""
    return SCORES[name](task)
