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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from harness.errors import Fault, Paused, UserError
from harness.launch import scratch
from harness.launch.attached import attached
from harness.launch.base import Display, Target, execute_pack, heeding
from harness.metrics import METRICS
from harness.record import Record
from harness.stop import Stop
from harness.trial import Trial

RETRIES = 2
"""How often a trial is started again when its process dies under it (an exception inside a trial is a record)."""

TOKEN = secrets.token_hex(16)
"""Of every local Ray of this process: Ray reads it once, so that a second Ray with another would be closed to us."""

GRACE = 20.0
"""Seconds that trials have, when the run is asked to stop, to get to an update and write a checkpoint. One that takes
longer goes on from its last. Clusters give a process 30 s between telling it to end and ending it."""


def launch(packs: Sequence[Sequence[Trial]], target: Target, display: Display, max_concurrent: int) -> None:
    """Run every pack with `max_concurrent` at once, on a local Ray or the cluster of the job around this process."""
    trials = [trial for pack in packs for trial in pack]
    threads = max(trial.threads for trial in trials)
    place = attached(target.folder, threads, target.stop, farewell(trials, target, display)) if target.nodes else None
    with place or local_ray(max_concurrent * threads) as folder:
        target = replace(target, shared=folder if target.nodes else "")
        left = packs
        while left and not target.stopped:
            retries = RETRIES if max(map(len, left)) == 1 else 0
            _run(left, target, display, max_concurrent, folder, retries)
            dead = [[t for t in pack if not target.holding(t.id)] for pack in left] if not retries else []
            left = [part for pack in dead for part in _halves(pack)]
    if target.stopped and {trial.id for trial in trials} - target.stored():
        raise Paused("stopped")
    account_for_the_dead(trials, target, display)


def farewell(trials: Sequence[Trial], target: Target, display: Display) -> Callable[[str], None]:
    """Return what tells how far trials are where the cluster goes away."""

    def say(why: str) -> None:
        done = len({trial.id for trial in trials} & target.stored())
        display.say(f"error: {why}; {done} of the {len(trials)} trials that were left are stored\n"
                    "  try: start the head again; the same command then goes on")  # fmt: skip

    return say


def _halves(pack: list[Trial]) -> list[list[Trial]]:
    """What to try next where a process died of a pack, as of too little memory: two packs, or the trial once more."""
    middle = -(-len(pack) // 2)
    return [part for part in (pack[:middle], pack[middle:]) if part]


def _run(
    packs: Sequence[Sequence[Trial]], target: Target, display: Display, max_concurrent: int, folder: str, retries: int
) -> None:
    """Run every pack; one whose process dies is started again `retries` times."""
    from ray import tune

    threads = max(trial.threads for pack in packs for trial in pack)

    def run(config: dict[str, Any]) -> None:
        if not target.nodes:
            scratch.occupy(folder)
        try:
            records = execute_pack(_trials(config), target)
        except Paused as paused:  # not a failure, which Tune would start again
            print(paused, flush=True)
            tune.report({"ended": []})
        else:
            tune.report({"ended": [(record.status, record.seconds) for record in records]})

    def name(trial: Any) -> str:
        first, *more = _trials(trial.config)
        return f"{first.id}-and-{len(more)}" if more else first.id

    tuner = tune.Tuner(
        tune.with_resources(run, {"cpu": threads}),
        param_space={"trials": tune.grid_search([[trial.canonical() for trial in pack] for pack in packs])},
        tune_config=tune.TuneConfig(
            reuse_actors=True,  # a process serves many trials: 62 ms each, not 1.5 s
            max_concurrent_trials=max_concurrent,
            trial_name_creator=name,
            trial_dirname_creator=name,
        ),
        run_config=tune.RunConfig(
            name=f"tune-{secrets.token_hex(2)}",
            storage_path=os.path.join(folder, "tune"),
            verbose=0,
            callbacks=[_watch(display, target.stop)],
            failure_config=tune.FailureConfig(max_failures=retries),
        ),
    )
    with heeding(target):
        tuner.fit()


def _trials(config: dict[str, Any]) -> list[Trial]:
    return [Trial.from_canonical(text) for text in config["trials"]]


def _watch(display: Display, stop: Stop | None) -> Any:
    """Return a Tune callback that tells the display, and that ends the run once every trial has heard of a stop."""
    from ray import tune

    class Watch(tune.Callback):
        def __init__(self, display: Display, stop: Stop | None) -> None:
            self.display, self.stop = display, stop
            self.running: set[str] = set()
            self.waiting: set[str] | None = None  # for these, since the run was asked to stop

        def __getstate__(self) -> dict[str, Any]:
            return {}  # Tune pickles its callbacks with a state that nobody reads; a terminal can't be

        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self.running.add(trial.trial_id)
            for one in _trials(trial.config):
                self.display.started(one)

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self.running.discard(trial.trial_id)
            for one, (status, seconds) in zip(_trials(trial.config), trial.last_result["ended"], strict=False):
                self.display.finished(one, status, seconds)

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self.running.discard(trial.trial_id)

        def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
            if self.stop is None or not self.stop.asked:
                return
            if self.waiting is None:
                self.waiting, self.until = set(self.running), time.monotonic() + GRACE
            if not self.waiting & self.running or time.monotonic() > self.until:
                raise Paused("stopped")

    return Watch(display, stop)


def account_for_the_dead(
    trials: Sequence[Trial],
    target: Target,
    display: Display,
    why: str = " without a word (out of memory, or killed)",
    traceback: str = "",
) -> None:
    """Store a failed record for each trial whose process died every time: nothing leaves the table silently."""
    from harness.checkpoint import Checkpoints

    store = target.store()
    for trial in trials:
        if not target.holding(trial.id):
            task = trial.build_task()
            reason = f"its process died {RETRIES + 1} times{why}"
            store.write(
                Record(
                    trial_id=trial.id,
                    benchmark=target.benchmark,
                    trial=trial.canonical(),
                    task=trial.task["name"],
                    cell=trial.cell["name"],
                    seed=trial.seed,
                    status="failed",
                    reason=reason,
                    traceback=traceback,
                    metric=task.metric,
                    higher_is_better=METRICS[task.metric].better == "higher",
                    floor=task.floor(),
                    fingerprint=target.fingerprint,
                    attempts=RETRIES + 1,
                )
            )
            Checkpoints(store.checkpoint_folder(trial.id), trial.id).remove()
            display.finished(trial, "failed", 0.0)


@contextmanager
def local_ray(cpus: int) -> Iterator[str]:
    """Start a Ray of our own, yield a scratch folder, stop Ray and remove the folder.

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
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours to handle
        "TUNE_MAX_PENDING_TRIALS_PG": str(cpus),
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = folder  # workers inherit it, so what they leave behind goes with the scratch folder
    import ray

    try:
        handler = signal.getsignal(signal.SIGTERM)
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, _temp_dir=folder, log_to_driver=True)
        signal.signal(signal.SIGTERM, handler)  # Ray's own would abort the command without a word
        yield folder
    finally:
        ray.shutdown()
        os.environ.pop("TMPDIR") if before is None else os.environ.update(TMPDIR=before)
        scratch.remove(folder, ours)
