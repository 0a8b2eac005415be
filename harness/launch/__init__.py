"""Running a benchmark: skip what is stored, launch the rest, return every record."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness import machine, spent
from harness.errors import Fault, UserError
from harness.launch.gpus import asked as share
from harness.launch.gpus import at_once as gpus_at_once
from harness.launch.gpus import check_here
from harness.launch.gpus import here as gpus_here
from harness.pack.gains import gain
from harness.pack.plan import asked, plan
from harness.record import Record, reads
from harness.search import early
from harness.storage.compact import AT_ONCE, batched, compact
from harness.storage.objects import Place, on_disk

if TYPE_CHECKING:
    from rich.console import Console

    from harness.launch.base import Target
    from harness.launch.display import TrialProgress
    from harness.spec import Benchmark
    from harness.stop import Stop
    from harness.storage.store import Store
    from harness.trial import Trial

Where = Literal["tune", "inline", "cluster"]
Wandb = Literal["offline", "online", "off"]


def run(
    benchmark: Benchmark,
    root: Place,
    console: Console,
    on: Where = "tune",
    max_concurrent: int | None = None,
    wandb: Wandb = "offline",
    weights: bool = True,
    checkpoint_seconds: float | None = None,
    stop: Stop | None = None,
    pack: str | None = None,
    gpus: float = 0.0,
    gpu_wait: float = 0.0,
) -> list[Record]:
    """Run every trial of the benchmark that has no record under `root`, and return the records of all, in order, with
    the fields that a report reads.

    `on`: "tune" (a local Ray of our own), "inline" (this process) or "cluster" (that of the Ray job around this
    process). `max_concurrent`: trials at once, by default as many as there are CPUs for their threads. `wandb`:
    whether its runs are written, and uploaded too. `weights`: keep what is trained beside each record.
    `checkpoint_seconds`: between two checkpoints of a trial that runs. `pack`: "auto", "off", or how many trials of
    one shape train as one program (harness/pack/; None: as the benchmark says), which decides neither which trials
    there are nor what is recorded of them, but for rounding. `gpus`: share of a GPU that each trial trains on
    (gpus.py), on a cluster after a wait of at most `gpu_wait` seconds until there is one (scale_up.py). Raises
    Paused where it was asked to `stop`.
    """
    most = asked(pack or benchmark.pack)
    share(gpus, most)
    from harness.launch import lineage, train
    from harness.launch.base import Target, mirror
    from harness.tracking.upload import Uploader

    machine.check_installation()
    _check(benchmark, on)
    if on != "cluster":
        check_here(gpus)
    mirrored = wandb != "off"
    target = Target(
        str(root.resolve()), benchmark.name, machine.fingerprint("cuda" if gpus else "cpu"), mirrored, weights,
        checkpoint_seconds, stop, on == "cluster", benchmark.search.digest if benchmark.search else "", benchmark.notes,
        gpus=gpus, gpu_wait=gpu_wait,
    )  # fmt: skip
    store, ended, done = target.store(), target.ended(), names(benchmark, target)
    todo = [trial for trial in benchmark.known if trial.id not in ended]
    train.check([trial for trial in todo if trial.workers > 1], on, gpus)
    store.check_writable()
    _tidy(store, ended)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    here = Path(os.path.relpath(on_disk(target.folder)))
    with Uploader(here, say, lambda: target.stopped) if wandb == "online" else nullcontext():
        if len(done) < benchmark.size:
            _tell(console, store, todo)
            _launch(todo, done, benchmark, target, console, on, max_concurrent, most)
        if not target.objects:
            _compact(target)
        lineage.forget([study for study in benchmark.studies if study.search.kind == "population"], target)
        ids = names(benchmark, target)
        if mirrored:  # a run that a kill or a fault left out is written now
            mirror((r for part in batched(ids) for r in target.records(part)), on_disk(target.folder), say)
    return target.records(ids, reads(benchmark.claims))


def _compact(target: Target) -> None:
    """Where many records have a file each, move them into segments: reports then take seconds."""
    for store in target.stores():
        compact(store, least=AT_ONCE)


def names(benchmark: Benchmark, target: Target) -> list[str]:
    """Return what the records that answer the benchmark are stored as, in order."""
    stored = target.stored()
    either = ((trial.id, early(trial.id, target.search)) for trial in benchmark.known)
    found = [name for one in either for name in [name for name in one if name in stored][:1]]
    if benchmark.size > len(benchmark.known):
        records = (record for store in target.stores() for record in store.read_all(reads()))
        found += [record.trial_id for record in benchmark.answered(records) if record.trial_id not in found]
    return found


def _check(benchmark: Benchmark, on: Where) -> None:
    """Raise UserError where a search cannot run there."""
    if benchmark.search is None:
        return
    kind = benchmark.search.kind
    if on == "inline" and kind in ("asha", "population"):
        what = f"search: {kind} compares trials that run side by side, and --on inline runs one after the other"
        raise UserError(Fault(what, str(benchmark.path), "random, optuna or grid", "--on tune"))
    if kind == "optuna" and find_spec("optuna") is None:
        what = "search: optuna is not installed"
        raise UserError(Fault(what, str(benchmark.path), remedy="pip install 'rnn-harness[search]'"))


def _launch(
    todo: Sequence[Trial],
    done: Sequence[str],
    benchmark: Benchmark,
    target: Target,
    console: Console,
    on: Where,
    max_concurrent: int | None,
    most: int | None,
) -> None:
    """Run trials, with a display of how far they are."""
    from harness import cost
    from harness.launch import train
    from harness.launch.display import TrialProgress

    alone, together = [t for t in todo if t.workers == 1], [t for t in todo if t.workers > 1]
    log = on_disk(target.folder) / "logs" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    diversion: AbstractContextManager[Console] = nullcontext(console)
    if on != "inline":
        from harness.launch.chatter import diverted
        from harness.launch.tune import launch

        console.print(f"log: {_short(log)}", highlight=False, soft_wrap=True)
        diversion = diverted(log, console)
    else:
        from harness.launch.inline import launch

    open_ = [study for study in benchmark.studies if not study.search.foreseen]
    estimates = {trial.id: cost.estimate(trial).seconds for trial in todo}
    for study in open_:  # which trials those will be is not known yet
        seconds = cost.estimate(study.base).seconds
        estimates |= {f"{study.base.id} {number}": seconds for number in range(study.budget)}
    estimates = dict(list(estimates.items())[: benchmark.size - len(done)])
    threads = [trial.threads for trial in [*todo, *(study.base for study in open_)]]
    cpus, at_once, here = _room(threads, target, max_concurrent, len(estimates))
    guided = benchmark.search is not None and benchmark.search.kind != "random"  # a search may stop each of them
    slots = 1 if on == "inline" else min(at_once, here)
    packs = _packed(alone, 1 if guided else most, slots, bool(target.gpus), console)
    packs += [[study.base] for study in open_]
    with diversion as terminal:
        beside = {trial.id: len(pack) for pack in packs for trial in pack}
        progress = TrialProgress(terminal, estimates, len(done), on == "inline", beside)
        with progress.shown() as display:
            if together:  # first, because only where they are started is it seen whether a cluster has room for them
                train.launch(together, target, display, max_concurrent or len(together))
            if packs:
                launch(packs, target, display, at_once, benchmark.studies, cpus)
    _account(log, progress, slots, set(names(benchmark, target)).difference(done))


def _room(threads: Sequence[int], target: Target, most: int | None, trials: int) -> tuple[int, int, int]:
    """Return the CPUs of a local Ray, the most trials at once, and how many of them have cores of their own here."""
    cpus = max(machine.cpu_count(), *threads) if most is None else most * max(threads)
    if target.nodes:
        return cpus, min(most or trials, trials), trials
    at_once, here = most or cpus // min(threads), max(1, machine.cpu_count() // max(threads))  # Ray counts CPUs
    if target.gpus:
        held = gpus_at_once(target.gpus, [gpus_here()])
        at_once, here = min(at_once, held), min(here, held)
    return cpus, min(at_once, trials), here


def _account(log: Path, progress: TrialProgress, slots: int, trials: set[str]) -> None:
    """Leave an account of what this command spent, and on which trials."""
    told = {"wall": spent.age(), "spent": dict(progress.around), "slots": slots, "trials": sorted(trials)}
    spent.write(log, told)


def _packed(trials: Sequence[Trial], most: int | None, side: int, gpu: bool, console: Console) -> list[list[Trial]]:
    """Put trials into packs, leave each of `side` that run at once something to do, and tell which train together."""
    packs, told = plan(trials, most, side, gain, gpu)
    for line in told:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return packs


def _tidy(store: Store, stored: set[str]) -> None:
    """Remove the checkpoints of trials that have their record: a kill between the two left them."""
    for trial_id in store.checkpointed() & stored:
        from harness.training.checkpoint import Checkpoints

        Checkpoints(store.checkpoint_folder(trial_id), trial_id).remove()


def _tell(console: Console, store: Store, todo: Sequence[Trial]) -> None:
    """Say how many trials do not begin from zero."""
    count = len(store.checkpointed() & {trial.id for trial in todo})
    if count:
        what = "1 trial goes on from its checkpoint" if count == 1 else f"{count} trials go on from their checkpoints"
        console.print(what, highlight=False)


def _short(path: Path) -> str:
    """Return a path relative to here where it lies below."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
