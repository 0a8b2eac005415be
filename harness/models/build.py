"""Which model a mapping needs."""

from __future__ import annotations

from collections.abc import Callable

from harness.cells.base import Cell
from harness.models.base import Model
from harness.models.encoder_decoder import EncoderDecoder
from harness.models.sequence import SequenceModel
from harness.tasks.base import Mapping, Task
from harness.trial import Trial

MODELS: dict[Mapping, Callable[[Trial, Task, Cell], Model]] = {
    "one-to-one": SequenceModel,
    "many-to-one": SequenceModel,
    "many-to-many": SequenceModel,
    "one-to-many": EncoderDecoder,
    "encoder-decoder": EncoderDecoder,
}


def build_model(trial: Trial, task: Task, cell: Cell) -> Model:
    """Return the model of the task's mapping, with start weights drawn from the trial's seed."""
    return MODELS[task.mapping](trial, task, cell)
