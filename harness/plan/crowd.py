"""What trials cost beyond themselves: the command's start, handing over from one to the next, and company.

Measured by a few short trials of the benchmark through the launcher that runs them all: on every core at once, twice
over, so that what comes first on a worker can be told from what comes again.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from harness import machine
from harness.plan.pace import Pace, shortened
from harness.trial import Trial

ROUNDS = 3
"""Trials, one after another, on each core."""


@dataclass(frozen=True)
class Crowd:
    """Seconds of the command that no trial has, and how much slower trials run on every core at once."""

    start_up: float  # the interpreter, Ray, a worker and its imports, until the first trial begins; end and report
    between: float  # two trials on one worker: its record, its W&B run, and the driver
    control: float  # of the driver's own work for a trial, which it does for one at a time
    factor: float  # of a trial's own seconds, with all cores of this machine busy; 1: no slower
    command: float = 0.0  # of `start_up`: the interpreter, and the report


@dataclass(frozen=True)
class Gang:
    """Seconds of the command that no trial of several workers has."""

    start_up: float = 0.0  # until the workers of the first trial are started; end and report
    between: float = 0.0  # of each trial until its workers have found one another: their processes, their imports


class _Clock:
    """A display that remembers when trials ended, and what the driver had worked by then."""

    def __init__(self) -> None:
        self.ended: dict[str, float] = {}
        self.worked: list[float] = []

    def started(self, trial: Trial) -> None:
        """Nothing to remember."""

    def finished(self, trial: Trial, status: str, seconds: float) -> None:
        """Remember when."""
        self.ended[trial.id] = time.monotonic()
        self.worked.append(time.process_time())

    def spent(self, seconds: Mapping[str, float]) -> None:
        """Of no use here."""

    def say(self, text: str) -> None:
        """Nothing is lost here: the cluster is this machine."""


def measured(trial: Trial, pace: Pace) -> Crowd:
    """Run short copies of a trial of known pace on all cores through Tune; about 20 seconds."""
    from rich.console import Console

    from harness import report
    from harness.launch.base import Target
    from harness.launch.chatter import diverted
    from harness.launch.tune import launch

    at_once = max(1, machine.cpu_count() // trial.threads)
    part, alone = shortened(trial, pace)
    copies = [part.model_copy(update={"seed": seed}) for seed in range(ROUNDS * at_once)]
    clock, began = _Clock(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        target = Target(folder, "plan", machine.fingerprint(), wandb=True)
        with diverted(Path(folder, "log"), Console()):
            launch([[copy] for copy in copies], target, clock, at_once)
        whole = time.monotonic() - began
        records = [target.store().read(copy.id) for copy in copies]
        report.write(report.make("plan", "", records, copies), Path(folder))
    command = _interpreter() + time.monotonic() - began - whole
    own = {record.trial_id: record.seconds for record in records}
    order = sorted(clock.ended, key=clock.ended.__getitem__)
    first = min(clock.ended[one] - own[one] for one in order) - began
    tail = began + whole - clock.ended[order[-1]]
    later = [
        clock.ended[order[k]] - clock.ended[order[k - at_once]] - own[order[k]] for k in range(at_once, len(order))
    ]
    factor = median(own[one] for one in order[at_once:]) / alone
    control = (clock.worked[-1] - clock.worked[0]) / (len(copies) - 1)
    return Crowd(command + first + tail, max(control, median(later)), control, max(1.0, factor), command)


def gang(trial: Trial, pace: Pace, command: float) -> Gang:
    """Run two short copies of a trial on two workers, one after the other: from the end of one to the beginning of the
    next is what each takes to start, and what the first takes longer is the start of all; about 40 seconds."""
    from rich.console import Console

    from harness.launch.base import Target
    from harness.launch.chatter import diverted
    from harness.launch.train import launch

    part, _ = shortened(trial, pace)
    copies = [part.model_copy(update={"seed": seed, "workers": 2}) for seed in range(2)]
    clock, began = _Clock(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        target = Target(folder, "plan", machine.fingerprint(), wandb=True)
        with diverted(Path(folder, "log"), Console()):
            launch(copies, target, clock, 1)
        whole = time.monotonic() - began
        own = [target.store().read(copy.id).seconds for copy in copies]
    first, last = (clock.ended[copy.id] for copy in copies)
    between = max(0.0, last - first - own[1])
    return Gang(max(0.0, command + whole - sum(own) - 2 * between), between)


def _interpreter() -> float:
    """Return the seconds of the command's own start."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "harness", "--version"], stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began
