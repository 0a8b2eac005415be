"""A process that runs trials of one revision when asked: `harness compare --against` keeps one for each side.

Run as a script with the revision's tree in front of the path: `python -P rounds.py BENCHMARK`. It names its trials in
one line of JSON, then answers every line on its input, the number of a trial, with what was observed of it. It uses
`spec.load` and `engine.run_trial` of that revision and nothing else of it.

Here the clock counts the processor's time, not the wall's: what other processes do to this one hardly shows in it. On a
machine with a load of 13 on 2 cores the wall clock ran 3 times as fast. A wait (for a disk, for a lock) is not seen.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

FIELDS = (
    "status", "reason", "parameters", "updates", "examples", "tokens", "padded_tokens", "train_loss", "weights_sha256",
    "score", "higher_is_better", "metric", "warmup_updates", "update_seconds", "seed", "cell", "task", "trial_id",
    "benchmark", "trial", "fingerprint",
)  # fmt: skip


def main(path: str) -> None:
    """Serve until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    time.perf_counter = time.process_time  # before anything takes it
    from harness import engine, spec

    trials = spec.load(path).trials
    _answer(
        answers,
        {"labels": [f"{trial.label}-h{trial.hidden_size}" for trial in trials], "tree": os.path.dirname(spec.__file__)},
    )
    for line in sys.stdin:
        begin = time.perf_counter()
        record = engine.run_trial(trials[int(line)])
        _answer(answers, {name: getattr(record, name) for name in FIELDS} | {"seconds": time.perf_counter() - begin})


def _answer(answers: Any, value: object) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
