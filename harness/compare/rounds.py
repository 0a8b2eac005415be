"""The processes of `harness compare --against`: one that imports the libraries and forks a fresh side when asked.

Run as a script, `python -P rounds.py FD`, where no harness is found. For each request on the socket FD it forks a
process, a side, that puts its tree in front of the path and takes its code from there. The libraries are imported once
and lie at the same addresses in every side, and a side starts in half a second. A side uses `spec.load`,
`engine.run_trial`, `engine.Keeper` and two errors of its revision and nothing else of it: it names its trials in
one line of JSON, then runs the trial whose number it reads, with another seed where one follows it. Before the first
update, and whenever the updates asked for are made, it says how much time they took and waits to be asked for more; the
record comes last. Asked for none it ends the trial as it stands.

The clock is the processor's time of the process: what others do to it hardly shows, and waiting costs nothing. On a
machine with a load of 13 on 2 cores the wall clock ran 3 times as fast. A wait (for a disk, for a lock) is not seen.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

LIBRARIES = ("torch", "torchmetrics", "pytorch_lightning", "numpy", "pyarrow", "pydantic", "yaml")
"""What every revision imports, and seconds go into; a side imports what else it needs."""

FIELDS = (
    "status", "reason", "data_sha256", "parameters", "flops_per_token", "updates", "examples", "tokens",
    "padded_tokens", "train_loss", "weights_sha256", "score", "higher_is_better", "metric", "seed", "cell", "task",
    "trial_id", "benchmark", "trial", "fingerprint", "device", "packed",
)  # fmt: skip
"""What is told of a record; a revision whose records have not all of these tells the others."""


def main(control: socket.socket) -> None:
    """Fork sides until nobody asks any more."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is there already is no work for a side's collector
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        asked, handed, *_ = socket.recv_fds(control, 1 << 16, 2)
        if not asked:
            return
        if not os.fork():
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return serve(**json.loads(asked), channel=handed[0], log=handed[1])
        for each in handed:
            os.close(each)


def serve(tree: str, benchmark: str, channel: int, log: int) -> None:
    """Be a side, until the other end is closed."""
    _enter(tree, log)
    from harness import engine
    from harness.errors import Stopped

    talk = socket.socket(fileno=channel).makefile("rw")

    class Turns(engine.Keeper):
        """Waits before the first update and after those that were asked for."""

        left, began = 0, 0.0

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            super().on_train_start(trainer, pl_module)
            self._wait(0.0)
            pl_module.after_update.append(self._made)

        def _made(self, *_: Any) -> None:
            self.left -= 1
            if not self.left:
                self._wait(time.process_time() - self.began)

        def _wait(self, seconds: float) -> None:
            _answer(talk, {"seconds": seconds})
            self.left = int(talk.readline() or os._exit(0))
            if not self.left:
                raise Stopped
            self.began = time.process_time()

    hello, trials = _read(benchmark)
    _answer(talk, hello)
    for line in talk:
        number, *seed = map(int, line.split())
        trial = type(trials[number])(**hello["settings"][number] | {"seed": seed[0]}) if seed else trials[number]
        try:
            _answer(talk, _told(engine.run_trial(trial, keeper=Turns())))
        except Stopped:
            _answer(talk, {"status": "stopped"})


def _read(benchmark: str) -> tuple[dict[str, Any], Sequence[Any]]:
    """Return what a side says first, and its trials; none where its revision cannot read the benchmark."""
    from harness import spec
    from harness.errors import UserError

    try:
        trials = spec.load(benchmark).trials
    except UserError as error:
        return {"refused": str(error)}, ()
    labels = [f"{trial.label}-h{trial.hidden_size}" for trial in trials]
    settings = [trial.model_dump(mode="json") for trial in trials]
    where = str(Path(spec.__file__).parent)
    return {"labels": labels, "settings": settings, "tree": where, "process": os.getpid()}, trials


def _told(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}


def _answer(talk: TextIO, value: dict[str, Any]) -> None:
    talk.write(json.dumps(value) + "\n")
    talk.flush()


def _enter(tree: str, log: int) -> None:
    """Take code from a tree, and put whatever a library prints into a log: it is no answer."""
    for stream in (1, 2):
        os.dup2(log, stream)
    os.chdir(tree)
    sys.path.insert(0, tree)
    os.environ["PYTHONPATH"] = tree


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
