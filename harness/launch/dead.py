"""What is said and stored of trials whose processes, or whose cluster, have gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from harness import redact
from harness.launch.base import Display, Target
from harness.trial import Trial

RETRIES = 2
"""How often a trial is started again when its process dies under it (an exception inside a trial is a record)."""
SILENT = " without a word (out of memory, or killed)"


class Asked(NamedTuple):
    """A trial that was to run, what its record says of its search, and the name that it is stored under."""

    trial: Trial
    note: str
    name: str


def account_for_the_dead(
    trials: Sequence[Trial], target: Target, display: Display, why: str = SILENT, traceback: str = ""
) -> None:
    """Store a failed record for each trial whose process died every time: nothing leaves the table silently."""
    for trial in trials:
        if not target.holding(trial.id):
            account_for(Asked(trial, target.notes.get(trial.id, ""), trial.id), target, display, why, traceback)


def account_for(asked: Asked, target: Target, display: Display, why: str = SILENT, traceback: str = "") -> None:
    """Store that one's failed record."""
    from harness.engine import blank
    from harness.training.checkpoint import Checkpoints

    trial, store = asked.trial, target.store()
    record = blank(trial, target.benchmark).replace(machine="", git_commit="", fingerprint=target.fingerprint)
    record = record.replace(device="" if target.gpus else "cpu")
    record = record.replace(trial_id=asked.name, search=asked.note, floor=trial.build_task().floor())
    reason = redact.text(f"its process died {RETRIES + 1} times{why}")
    store.write(record.replace(reason=reason, traceback=redact.text(traceback), attempts=RETRIES + 1))
    Checkpoints(store.checkpoint_folder(trial.id), trial.id).remove()
    display.finished(trial, "failed", 0.0)


def farewell(trials: Sequence[Trial], target: Target, display: Display) -> Callable[[str], None]:
    """Return what tells how far trials are where the cluster goes away."""

    def say(why: str) -> None:
        done = len({trial.id for trial in trials} & target.stored())
        display.say(f"error: {why}; {done} of the {len(trials)} trials that were left are stored\n"
                    "  try: start the head again; the same command then goes on")  # fmt: skip

    return say
