"""What a trial reads: every update that it makes, and one pass over a split that is scored."""

from __future__ import annotations

from harness.data.batches import EvalBatches, TrainBatches
from harness.data.passes import Passes, by_length
from harness.data.streams import EvalStreams, StreamBatches
from harness.tasks.base import Examples, Task
from harness.trial import Trial

EVAL_BATCH = 512  # examples; fixed, because a batch's size can change the last bit of a score
EVAL_STREAMS = 32  # of one long document; each begins without a past, which is part of the score
EVAL_WINDOW = 256  # steps


def every_update(trial: Trial, task: Task, examples: Examples) -> TrainBatches | StreamBatches:
    """Every update of the trial, until its budget of examples or useful steps is spent."""
    if task.stream:
        assert trial.tokens is not None and trial.bptt_length is not None
        stride = trial.bptt_stride or trial.bptt_length
        return StreamBatches(examples, trial.batch_size, trial.bptt_length, stride, trial.seed, trial.tokens)
    lengths = by_length(examples) if trial.batching == "by-length" else None
    passes = Passes(len(examples), trial.seed, trial.batch_size, lengths)
    budget = trial.examples or passes.examples_of(task.useful_steps(examples), trial.tokens or 0)
    return TrainBatches(examples, trial.batch_size, passes, budget)


def whole(task: Task, examples: Examples, batch: int | None = None) -> EvalBatches | EvalStreams:
    """One pass over a split, at the project's fixed batch size unless told otherwise."""
    if task.stream:
        return EvalStreams(examples, batch or EVAL_STREAMS, EVAL_WINDOW)
    return EvalBatches(examples, batch or EVAL_BATCH)
