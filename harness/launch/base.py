"""What every launcher shares: where results go, and how one trial is executed exactly once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness import redact
from harness.errors import Fault, Paused, Stopped, UserError
from harness.launch import gpus
from harness.launch.lean import lean
from harness.launch.target import Target
from harness.record import Record
from harness.search import Study, whole_id
from harness.spent import CLOCK
from harness.storage.objects import on_disk
from harness.storage.store import Store
from harness.trial import Trial

if TYPE_CHECKING:
    from rich.console import Console

    from harness.training.keeper import Keeper
    from harness.training.workers import Workers


class Display(Protocol):
    """What a launcher tells while it runs."""

    def started(self, trial: Trial) -> None:
        """A trial runs."""

    def finished(self, trial: Trial, status: str, seconds: float) -> None:
        """A trial has its record."""

    def say(self, text: str) -> None:
        """Something that the user must read."""

    def spent(self, seconds: Mapping[str, float]) -> None:
        """What a process spent around its trials, by phase (spent.py)."""


class Launcher(Protocol):
    """Runs trials that have no record yet, those of a pack side by side. All of them have one when it returns."""

    def __call__(
        self,
        packs: Sequence[Sequence[Trial]],
        target: Target,
        display: Display,
        max_concurrent: int,
        studies: Sequence[Study] = (),
        cpus: int | None = None,
    ) -> None: ...


class Opens(Protocol):
    """Makes a display for a console."""

    def __call__(self, console: Console) -> Display: ...


@contextmanager
def heeding(target: Target) -> Iterator[None]:
    """Inside, this process waits for its trials to end in good order when it is asked to stop."""
    if target.stop is not None:
        target.stop.heeded = True
    try:
        yield
    finally:
        if target.stop is not None:
            target.stop.heeded = False


def execute(trial: Trial, target: Target, made: Callable[..., Keeper] | None = None, member: str = "") -> Record:
    """Run one trial unless its record exists, and store it: the weights first, so that no record is without them.
    `made`: makes the keeper of a trial that a search guides. `member`: of a population, under what name its record is
    kept, which belongs to that search; it trains although there is one, for others go on from it.

    The claim is held by this process alone and falls with it, so a worker that outlived a killed command and the
    worker of the next command never run the same trial side by side: the second waits, and finds the record, or the
    checkpoint that the first left. Raises Paused where the run was asked to stop.
    """
    _check(trial, target)
    store = target.store()
    name = member or trial.id
    with store.claim(name, on_wait=partial(_go_on, target)):
        if (held := target.holding(name)) and not member:
            record = held.read(name)
        else:
            record = train_and_store(trial, target, store, made=made, name=name)
        if target.wandb and not target.objects:
            mirror([record], on_disk(target.folder))  # the launcher tries again at the end, and says what is wrong
    return record


def train_and_store(
    trial: Trial,
    target: Target,
    store: Store,
    workers: Workers | None = None,
    made: Callable[..., Keeper] | None = None,
    name: str = "",
) -> Record:
    """Run one trial that this process has the claim of, and return the record that is stored.

    Of several `workers` the first one has the claim and stores; what the record of another would say is returned.
    """
    with CLOCK.on("imports"):
        _load_wandb(target)
        with lean():
            from harness.engine import run_trial
            from harness.training import limits
            from harness.training.workers import Workers

    workers = workers or Workers(device=gpus.device(target.gpus))
    if workers.rank:
        return run_trial(trial, target.benchmark, workers=workers)
    limits.prepare(trial.threads, trial.precision, target.scratch, workers)
    keep = partial(store.write_weights, name or trial.id) if target.weights else None
    record = run_trial(trial, target.benchmark, keep, _keeper(trial, target, made), workers)
    return _store(record.replace(trial_id=name or trial.id), target, store)


def execute_pack(trials: Sequence[Trial], target: Target) -> list[Record]:
    """As execute, for trials that are to be trained side by side. Where that fails, whatever the reason, each goes on
    by itself from its own checkpoint: then what is one trial's fault is in its record, and the others have theirs."""
    if len(trials) > 1:
        _check(trials[0], target)
        store = target.store()
        with ExitStack() as claims:
            for trial in sorted(trials, key=lambda trial: trial.id):  # one order for all: nobody waits in a circle
                claims.enter_context(store.claim(trial.id, on_wait=partial(_go_on, target)))
            todo = [trial for trial in trials if not target.holding(trial.id)]
            try:
                _run_pack(todo, target, store)
            except Stopped:
                raise
            except Exception as error:
                what = f"{type(error).__name__}: {error}".splitlines()[0]
                print(f"warning: a pack of {len(todo)} trials: {what}; its trials go on by themselves", flush=True)
    stores = [(trial, target.holding(trial.id)) for trial in trials]
    return [store.read(trial.id) if store else execute(trial, target) for trial, store in stores]


def _run_pack(trials: Sequence[Trial], target: Target, store: Store) -> None:
    with CLOCK.on("imports"):
        _load_wandb(target)
        with lean():
            from harness.pack.run import run_pack
            from harness.training import limits
            from harness.training.workers import Workers

    def finished(trial: Trial, record: Record, trained: bytes) -> None:
        if target.weights and trained:
            store.write_weights(trial.id, trained)
        stored = _store(record, target, store)
        if target.wandb and not target.objects:
            mirror([stored], on_disk(target.folder))

    if trials:
        device = gpus.device(target.gpus)
        limits.prepare(trials[0].threads, trials[0].precision, target.scratch, Workers(device=device))
        run_pack(trials, target.benchmark, [_keeper(trial, target) for trial in trials], finished, device)


def _check(trial: Trial, target: Target) -> None:
    """Raise Paused where the run was asked to stop, UserError where this node does not see the results."""
    if target.stopped:
        raise Paused(f"trial {trial.id} was not started")
    check_shared(target)


def check_shared(target: Target) -> None:
    """Raise UserError on a node that does not see the results: one that came after the look at all of them."""
    if target.shared and not Path(target.shared).is_dir():
        raise UserError(Fault("this node does not see the results folder", target.root, remedy="mount it there"))


def _keeper(trial: Trial, target: Target, made: Callable[..., Keeper] | None = None) -> Keeper:
    from harness.training.checkpoint import Checkpoints
    from harness.training.keeper import EVERY, Keeper

    checkpoints = Checkpoints(target.store().checkpoint_folder(trial.id), trial.id)
    every = EVERY if target.checkpoint_seconds is None else target.checkpoint_seconds
    return (made or Keeper)(checkpoints, every, target.stop)


def _store(record: Record, target: Target, store: Store) -> Record:
    """Write a record; its checkpoint has done its service. What is stored is what counts, and what a W&B run is bound
    to."""
    from harness.training.checkpoint import Checkpoints

    with CLOCK.on("store"):
        share = gpus.each(target.gpus, json.loads(record.trial).get("workers", 1))
        store.write(record.replace(search=target.notes.get(whole_id(record), ""), gpu_share=share))
        Checkpoints(store.checkpoint_folder(record.trial_id), record.trial_id).remove()
        return store.read(record.trial_id)


def _load_wandb(target: Target) -> None:
    """Import what this process will write W&B runs with, while little else is loaded: its models look for their source
    among all modules, 0.2 s of CPU then, and 0.9 once torch is there."""
    if target.wandb and not target.objects:
        with suppress(Exception):  # any fault of a third party's tool is said when a run is written
            import wandb.apis.public  # noqa: F401  its own first run imports that


def _go_on(target: Target, holder: str) -> None:
    """Wait for the holder of a claim, unless the run was asked to stop."""
    if target.stopped:
        raise Paused(f"stopped while {holder} ran the trial")


def mirror(records: Iterable[Record], folder: Path, say: Callable[[str], object] | None = None) -> None:
    """Write the W&B runs that are not there. W&B is a mirror: whatever goes wrong there costs no result and is said
    once, to `say`."""
    faults: list[tuple[Record, Exception]] = []
    count = itertools.count()
    with CLOCK.on("log"):
        from harness.tracking import runs

        for record in runs.missing((record for record, _ in zip(records, count, strict=False)), folder):
            try:
                runs.publish(record, folder)
            except Exception as error:  # any fault of a third party's tool, none of which may lose a trial
                faults.append((record, error))
    if faults and say:
        first, fault = faults[0]
        what = redact.text(f"{type(fault).__name__}: {fault}")
        say(f"warning: no W&B run for {len(faults)} of {next(count)} trials, {first.trial_id} the first: {what}")
