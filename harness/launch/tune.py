"""Many trials at once: Ray Tune on a local Ray that this command starts and stops itself, or on the cluster of a job.

Tune schedules and restarts; it is not asked what happened. Each trial stores its own record, so a killed driver loses
Tune's experiment state and nothing else.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

from harness import spent
from harness.errors import Fault, Paused, UserError
from harness.launch import engines, prestarted, pulse, scratch
from harness.launch.ahead import REPORT, TUNE, ahead
from harness.launch.attached import attached
from harness.launch.base import Display, Target, heeding
from harness.launch.dead import RETRIES, account_for, farewell
from harness.launch.scale_up import wait_for_gpus
from harness.record import Record
from harness.search import Study
from harness.trial import Trial

TOKEN = secrets.token_hex(16)
"""Of every local Ray of this process: Ray reads it once, so that a second Ray with another would be closed to us."""

GRACE = 20.0
"""Seconds that trials have, when the run is asked to stop, to get to an update and write a checkpoint. One that takes
longer goes on from its last. Clusters give a process 30 s between telling it to end and ending it."""


def launch(
    packs: Sequence[Sequence[Trial]],
    target: Target,
    display: Display,
    max_concurrent: int,
    studies: Sequence[Study] = (),
    cpus: int | None = None,
) -> None:
    """Run every pack, `max_concurrent` at once and as many as have room for their threads: on a local Ray with so many
    CPUs, or on the cluster of the job around this process."""
    trials = [trial for pack in packs for trial in pack]
    threads = max(trial.threads for trial in trials)
    told = farewell(trials, target, display)
    ready = partial(wait_for_gpus, target, threads, 1, display.say)
    place = attached(target.folder, threads, target.stop, told, target.gpus, ready) if target.nodes else None
    count = cpus or max_concurrent * threads
    prestart = threads == 1 and count <= len(packs) and not target.gpus  # so that each will have a trial
    with place or local_ray(count, prestart) as folder:
        target = target.within(folder)
        whole = plan = engines.plan(packs, studies, target)
        left = packs
        while left and not target.stopped:
            retries = RETRIES if max(map(len, left)) == 1 else 0
            _run(plan, target, display, max_concurrent, folder, retries)
            dead = [[t for t in pack if not target.holding(t.id)] for pack in left] if not retries else []
            left = [part for pack in dead for part in _halves(pack)]
            plan = engines.plan(left, (), target)
    missing = whole.missing(target)
    if target.stopped and (whole.open or missing):
        raise Paused("stopped")
    for one in missing:
        account_for(one, target, display)


def _halves(pack: list[Trial]) -> list[list[Trial]]:
    """What to try next where a process died of a pack, as of too little memory: two packs, or the trial once more."""
    middle = -(-len(pack) // 2)
    return [part for part in (pack[:middle], pack[middle:]) if part]


def _run(plan: engines.Plan, target: Target, display: Display, max_concurrent: int, folder: str, retries: int) -> None:
    """Run what is planned; a pack whose process dies is started again `retries` times."""
    from ray import tune

    def run(config: dict[str, Any]) -> None:
        if not target.nodes:
            scratch.occupy(folder)
            pulse.beat(folder)
        try:
            records = engines.execute(config["try"], target, folder)
        except Paused as paused:  # not a failure, which Tune would start again
            print(paused, flush=True)
            tune.report({"ended": []})
        else:
            tune.report(_ended(records))

    if plan.members:  # all must be there at the first exchange
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(len(plan.members) + len(plan.known))
    tuner = tune.Tuner(
        tune.with_resources(run, partial(room, target.gpus)),
        param_space=plan.space,
        tune_config=tune.TuneConfig(
            search_alg=plan.searcher,
            scheduler=plan.scheduler,
            num_samples=plan.samples,
            reuse_actors=True,  # a process serves many trials: 62 ms each, not 1.5 s
            max_concurrent_trials=max_concurrent if plan.counted(target) else None,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name=f"tune-{secrets.token_hex(2)}",
            storage_path=os.path.join(folder, "tune"),
            verbose=0,
            callbacks=[_watch(display, target, folder)],
            failure_config=tune.FailureConfig(max_failures=retries),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=4),  # of what members of a population hand on
        ),
    )
    with heeding(target), nullcontext() if target.nodes else prestarted.prestarted():
        tuner.fit()


def _ended(records: Sequence[Record]) -> dict[str, Any]:
    """Return what a worker tells of its trials, and what it spent around them."""
    return {"ended": [(one.status, one.seconds) for one in records], "spent": spent.CLOCK.take(outside=True)}


def room(gpus: float, config: dict[str, Any]) -> Any:
    """Return what a pack asks of Ray: a CPU for each of its threads, and its share of a GPU."""
    from ray import tune

    asked = {"CPU": max(trial.threads for trial in engines.trials_of(config))}
    return tune.PlacementGroupFactory([asked | ({"GPU": gpus} if gpus else {})])


def _name(trial: Any) -> str:
    first, *more = engines.trials_of(trial.config)
    return f"{first.id}-and-{len(more)}" if more else first.id


def _watch(display: Display, target: Target, folder: str) -> Any:
    """Return a Tune callback that tells the display, and that ends the run once every trial has heard of a stop."""
    from ray import tune

    class Watch(tune.Callback):
        def __init__(self, display: Display, target: Target, folder: str) -> None:
            self.display, self.target, self.folder = display, target, folder
            self.watchdog = pulse.Watchdog(folder)
            self.waiting: set[str] | None = None  # for these, since the run was asked to stop

        def __getstate__(self) -> dict[str, Any]:
            return {}  # Tune pickles its callbacks with a state that nobody reads; a terminal can't be

        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            for one in engines.trials_of(trial.config):
                self.display.started(one)

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            pack, last = engines.trials_of(trial.config), trial.last_result
            if "ended" not in last:  # its search has stopped it
                engines.store_stopped(pack[0], self.target, self.folder)
            ended = last["ended"] if "ended" in last else [("stopped", last["seconds"])]
            for one, (status, seconds) in zip(pack, ended, strict=False):
                self.display.finished(one, status, seconds)
            self.display.spent(last.get("spent", {}))

        def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
            for process in self.watchdog.look():
                what = f"process {process} has not answered for {self.watchdog.silence:g} s, and was ended"
                self.display.say(f"warning: {what}: its trial goes on in another from its last checkpoint")
            if not self.target.stopped:
                return
            running = {trial.trial_id for trial in trials if trial.status == "RUNNING"}
            if self.waiting is None:
                self.waiting, self.until = running, time.monotonic() + GRACE
            if not self.waiting & running or time.monotonic() > self.until:
                raise Paused("stopped")

    return Watch(display, target, folder)


@contextmanager
def local_ray(cpus: int, prestart: bool = False) -> Iterator[str]:
    """Start a Ray of our own, yield a scratch folder, stop Ray and remove the folder. `prestart`: a process for each
    CPU at once (prestarted.py).

    `address="local"` never joins a cluster that happens to run here. Ray listens on every interface, so it is closed
    by a token that only this process tree knows; without one, Ray would write one to the user's home.
    """
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        raise UserError(Fault("this process is already connected to a Ray", remedy="--on inline"))
    scratch.sweep_up()
    folder, ours = scratch.make()
    defaults = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray will do from its next version on; silences the warning
        "RAY_worker_niceness": "0",  # 15 by default: a trial would wait for whatever else runs here, and be timed so
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours to handle
        "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # of Tune's own state, which grows with every trial and nobody reads
        "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",  # for what a stopped trial lays down; 2 by default, then a new process
        "TUNE_MAX_PENDING_TRIALS_PG": str(cpus),
    }
    for name, value in (defaults | prestarted.SAID).items():
        os.environ.setdefault(name, value)
    os.environ |= prestarted.switches(prestart)
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = folder  # workers inherit it, so what they leave behind goes with the scratch folder
    import ray

    try:
        handler = signal.getsignal(signal.SIGTERM)
        with ahead(TUNE):
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, _temp_dir=folder, log_to_driver=True)
        signal.signal(signal.SIGTERM, handler)  # Ray's own would abort the command without a word
        yield folder
    finally:
        with ahead(REPORT):
            ray.shutdown()
        os.environ.pop("TMPDIR") if before is None else os.environ.update(TMPDIR=before)
        scratch.remove(folder, ours)
