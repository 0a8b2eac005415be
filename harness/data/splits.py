"""The splits of a trial, checked, and the hash that its record is bound to."""

from __future__ import annotations

import hashlib

from harness.data.check import check_examples
from harness.data.control import shuffled
from harness.spent import CLOCK
from harness.tasks.base import SPLITS, Examples, Split, Task
from harness.trial import Trial


@CLOCK.on("data")
def load(trial: Trial, task: Task) -> dict[Split, Examples]:
    """Return the checked splits; what was prepared was checked then."""
    data = {split: task.load(split, trial.seed) for split in SPLITS}
    for split, examples in data.items():
        if not examples.digest:
            check_examples(examples, task.shape, f"{trial.task['name']}, {split} split", task.mapping)
    return data | {"train": shuffled(data["train"], task, trial.seed)} if trial.shuffled_targets else data


@CLOCK.on("data")
def data_hash(data: dict[Split, Examples]) -> str:
    """The data that a record is bound to."""
    return hashlib.sha256("".join(data[split].sha256() for split in SPLITS).encode()).hexdigest()
