"""Trials of several workers: Ray Train on a local Ray of our own, or on the cluster of a job.

Train starts the workers of a trial together or not at all, joins them in a process group, and when one dies ends the
others and starts all again; each worker then goes on from the trial's own checkpoint. Nothing is asked of what Train
stores. As many trials run at once as there is room for all their workers, so that none holds what another waits for.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from harness import machine
from harness.errors import Fault, HarnessError, Paused, Stopped, UserError
from harness.launch.attached import attached
from harness.launch.base import Display, Target, heeding
from harness.launch.dead import RETRIES, account_for_the_dead, farewell
from harness.launch.gpus import each as share_of
from harness.launch.gpus import here as gpus_here
from harness.launch.scale_up import wait_for_gpus
from harness.launch.tune import GRACE, local_ray
from harness.trial import Trial

SILENCE = 60.0
"""Seconds after which a worker that does not answer, frozen or cut off, counts as gone, and all are started again."""

SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # how soon the end of a worker is seen, ten times the default
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # with it each line is said twice
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # an error in the log at every start
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",  # a busy machine took 120 s to start two; Train gives them 60
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a trial names files of the user's from where the command was typed
}


def launch(
    trials: Sequence[Trial], target: Target, display: Display, max_concurrent: int, silence: float = SILENCE
) -> None:
    """Run every trial, as many at once as all their workers have room, and `max_concurrent` at most. Raises UserError
    where there is no room for the workers of one."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    os.environ["RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"] = str(silence)
    with _place(trials, target, display, max_concurrent) as (folder, room):
        target = target.within(folder)
        with heeding(target):
            _Queue(trials, target, folder, silence).run(display, min(room, max_concurrent))
    if target.stopped and {trial.id for trial in trials} - target.stored():
        raise Paused("stopped")


def check(trials: Sequence[Trial], on: str, gpus: float = 0.0) -> None:
    """Raise UserError where trials of several workers cannot run; what a cluster has is seen when it is joined."""
    for trial in trials:
        if on == "inline":
            what = f"workers: {trial.workers} need processes of their own, and --on inline has one"
            raise UserError(Fault(what, remedy="--on tune, or --set workers=1"))
        if on == "tune":
            check_room(trial, _here(gpus))


@contextmanager
def _place(trials: Sequence[Trial], target: Target, display: Display, max_concurrent: int) -> Iterator[tuple[str, int]]:
    """Yield a scratch folder and how many of these trials have room at once."""
    largest = max(trials, key=lambda trial: trial.workers * trial.threads)
    if target.nodes:
        threads, told = max(trial.threads for trial in trials), farewell(trials, target, display)
        ready = partial(wait_for_gpus, target, threads, largest.workers, display.say)
        with attached(target.folder, threads, target.stop, told, target.gpus, ready) as folder:
            import ray

            have = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            nodes = [Node(one.get("CPU", 0.0), one.get("GPU", 0.0) if target.gpus else None) for one in have]
            for trial in trials:
                check_room(trial, nodes)
            yield folder, min(_room(trial, nodes) for trial in trials)
        return
    at_once = min(_room(largest, _here(target.gpus)), max_concurrent, len(trials))
    with local_ray(at_once * largest.workers * largest.threads) as folder:
        yield folder, at_once


class Node(NamedTuple):
    """What a node has. `gpus`: None where none is asked for."""

    cpus: float
    gpus: float | None = None

    def holds(self, trial: Trial) -> int:
        """Return how many workers of a trial have room: each takes a CPU for each thread, and a GPU if it shall."""
        workers = int(self.cpus // trial.threads)
        return workers if self.gpus is None else min(workers, int(self.gpus))


def _here(gpus: float) -> list[Node]:
    return [Node(machine.cpu_count(), gpus_here() if gpus else None)]


def _room(trial: Trial, nodes: Sequence[Node]) -> int:
    """Return how many trials like this one have all their workers at once on these nodes."""
    return sum(node.holds(trial) for node in nodes) // trial.workers


def check_room(trial: Trial, nodes: Sequence[Node]) -> None:
    """Raise UserError where nodes have no room for all workers of a trial."""
    if _room(trial, nodes) < 1:
        most = sum(node.holds(trial) for node in nodes)
        have = " and ".join(f"{node.cpus:g}" for node in nodes) or "no"
        gpus = " and ".join(f"{node.gpus:g}" for node in nodes if node.gpus is not None)
        each, have = ("threads and a GPU", f"{have} CPUs, {gpus} GPUs") if gpus else ("threads", f"{have} CPUs")
        where = "this machine has" if len(nodes) == 1 else "the nodes of the cluster have"
        what = f"workers: {trial.workers} of {trial.threads} {each} each, and {where} {have}"
        allowed = f"1 to {most}" if most else f"at most {max((node.cpus for node in nodes), default=0):g} threads"
        raise UserError(Fault(what, allowed=allowed, remedy=f"workers: {most}" if most else "threads: 1"))


class _Queue:
    """Trials that wait for their turn, and threads that each see one of them through after another."""

    def __init__(self, trials: Sequence[Trial], target: Target, folder: str, silence: float) -> None:
        self.target, self.folder, self.silence = target, folder, silence
        self.waiting = deque(trials)
        self.said: SimpleQueue[tuple[Trial, Exception | str | None]] = SimpleQueue()

    def run(self, display: Display, at_once: int) -> None:
        """See all through. What a trial raises that is the user's to see to is raised, once the others had their turn
        to stop."""
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(at_once)]
        for thread in threads:
            thread.start()
        until = float("inf")
        while any(thread.is_alive() for thread in threads) or not self.said.empty():
            if self.target.stopped:
                until = min(until, time.monotonic() + GRACE)
            if time.monotonic() > until:
                raise Paused("stopped")
            try:
                self._hear(*self.said.get(timeout=0.2), display)
            except Empty:
                continue

    def _work(self) -> None:
        while self.waiting and not self.target.stopped:
            try:
                trial = self.waiting.popleft()
            except IndexError:  # another thread took the last
                return
            self.said.put((trial, None))
            try:
                self.said.put((trial, fit(trial, self.target, self.folder, self.silence)))
            except Exception as error:
                self.said.put((trial, error))

    def _hear(self, trial: Trial, outcome: Exception | str | None, display: Display) -> None:
        """Tell the display; a trial whose workers are dead and left no record gets one."""
        if outcome is None:
            return display.started(trial)
        held = self.target.holding(trial.id)
        if held:
            record = held.read(trial.id)
            display.finished(trial, record.status, record.seconds)
        elif isinstance(outcome, Exception) and not self.target.stopped:
            _raise_others_faults(trial, outcome)
            account_for_the_dead([trial], self.target, display, f": {_short(outcome)}", str(outcome))


def fit(trial: Trial, target: Target, folder: str, silence: float) -> str:
    """Have Ray Train run the workers of a trial; return how the first one ended."""
    import ray.train
    from ray.train.torch import TorchTrainer

    from harness.launch.network import Group
    from harness.launch.worker import work

    gpus = share_of(target.gpus, trial.workers)
    asked: dict[str, Any] = {"trial": trial.canonical(), "target": target, "folder": "" if target.nodes else folder}
    trainer = TorchTrainer(
        work,
        train_loop_config=asked,
        torch_config=Group(timeout_s=int(silence)),
        scaling_config=ray.train.ScalingConfig(
            num_workers=trial.workers,
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": trial.threads} | ({"GPU": gpus} if gpus else {}),
        ),
        run_config=ray.train.RunConfig(
            name=f"{trial.id}-{secrets.token_hex(4)}",  # of a name that was there before Train would not run anything
            storage_path=os.path.join(folder, "train"),
            failure_config=ray.train.FailureConfig(max_failures=RETRIES, controller_failure_limit=RETRIES),
            logging_config=ray.train.LoggingConfig(log_level="WARNING"),
        ),
    )
    return str(trainer.fit().return_value)


def _raise_others_faults(trial: Trial, outcome: Exception) -> None:
    """Raise what is not the fault of a trial: ours for the user to see to, and workers that could not be started."""
    from ray.train import ControllerError

    for failure in (outcome, *getattr(outcome, "worker_failures", {}).values()):
        error = getattr(failure, "_base_exc", failure)  # Train wraps what a worker raised
        if isinstance(error, HarnessError):
            raise error
    if isinstance(outcome, ControllerError):
        what = f"the {trial.workers} workers of trial {trial.id} could not be started: {_short(outcome)}"
        raise Stopped(f"{what}\n  try: the same command again, when there is room for them")


def _short(error: Exception) -> str:
    """Return the last line of what went wrong."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
