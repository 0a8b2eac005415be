"""What every launcher shares: where results go, and how one trial is executed exactly once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness import machine, redact
from harness.errors import Fault, Paused, Stopped, UserError
from harness.record import Record
from harness.stop import Stop
from harness.store import Store
from harness.trial import Trial

if TYPE_CHECKING:
    from rich.console import Console

    from harness.keeper import Keeper
    from harness.workers import Workers


@dataclass(frozen=True)
class Target:
    """Where the records of a benchmark go, and what else its trials share; plain data, for it travels to workers."""

    root: str
    benchmark: str
    fingerprint: str
    wandb: bool
    weights: bool = True
    checkpoint_seconds: float | None = None  # between two checkpoints of a trial; None: as the keeper thinks fit
    stop: Stop | None = None
    nodes: bool = False  # on a cluster: each kind of node keeps the records that it makes under its own fingerprint
    shared: str = ""  # on a cluster: a folder that every node must see

    @property
    def stopped(self) -> bool:
        """Whether the run was asked to stop, so that no other trial starts."""
        return self.stop is not None and self.stop.asked

    def store(self) -> Store:
        """Open the store of this machine."""
        own = machine.fingerprint() if self.nodes else self.fingerprint
        return Store(Path(self.root), self.benchmark, own)

    def stores(self) -> list[Store]:
        """Open every store whose records count: this machine's, and on a cluster those of each kind of node."""
        own = self.store()
        found = sorted(path.name for path in self.folder.glob("[!.]*") if path.is_dir()) if self.nodes else []
        return [own, *(Store(own.root, self.benchmark, name) for name in found if name != own.folder.name)]

    def stored(self) -> set[str]:
        """Return the ids of all trials whose records count."""
        return {trial_id for store in self.stores() for trial_id in store.ids()}

    def holding(self, trial_id: str) -> Store | None:
        """Return the store that has the record of a trial."""
        return next((store for store in self.stores() if store.has(trial_id)), None)

    def records(self, ids: Sequence[str], columns: Collection[str] | None = None) -> list[Record]:
        """Return the records of trials in their order, with the fields named in `columns`, or all; of a trial that
        several kinds of node have, this machine's, or the first. Raises KeyError where there is none."""
        found: dict[str, Record] = {}
        for store in self.stores():
            lacking = set(ids) - found.keys()
            for record in store.read_all(columns, lacking) if lacking else ():
                found.setdefault(record.trial_id, record)
        return [found[trial_id] for trial_id in ids]

    @property
    def folder(self) -> Path:
        """Folder of the benchmark: records, W&B runs, logs, report."""
        return Path(self.root) / self.benchmark


class Display(Protocol):
    """What a launcher tells while it runs."""

    def started(self, trial: Trial) -> None:
        """A trial runs."""

    def finished(self, trial: Trial, status: str, seconds: float) -> None:
        """A trial has its record."""

    def say(self, text: str) -> None:
        """Something that the user must read."""


class Launcher(Protocol):
    """Runs trials that have no record yet, those of a pack side by side. All of them have one when it returns."""

    def __call__(
        self, packs: Sequence[Sequence[Trial]], target: Target, display: Display, max_concurrent: int
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


def execute(trial: Trial, target: Target) -> Record:
    """Run one trial unless its record exists, and store it: the weights first, so that no record is without them.

    The claim is held by this process alone and falls with it, so a worker that outlived a killed command and the
    worker of the next command never run the same trial side by side: the second waits, and finds the record, or the
    checkpoint that the first left. Raises Paused where the run was asked to stop.
    """
    _check(trial, target)
    store = target.store()
    with store.claim(trial.id, on_wait=partial(_go_on, target)):
        held = target.holding(trial.id)
        record = held.read(trial.id) if held else train_and_store(trial, target, store)
        if target.wandb:
            mirror([record], target.folder)  # the launcher tries again at the end, and says what is wrong
    return record


def train_and_store(trial: Trial, target: Target, store: Store, workers: Workers | None = None) -> Record:
    """Run one trial that this process has the claim of, and return the record that is stored.

    Of several `workers` the first one has the claim and stores; what the record of another would say is returned.
    """
    from harness.engine import run_trial

    if workers is not None and workers.rank:
        return run_trial(trial, target.benchmark, workers=workers)
    keep = partial(store.write_weights, trial.id) if target.weights else None
    return _store(run_trial(trial, target.benchmark, keep, _keeper(trial, target), workers), store)


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
    from harness.pack.run import run_pack

    def finished(trial: Trial, record: Record, trained: bytes) -> None:
        if target.weights and trained:
            store.write_weights(trial.id, trained)
        stored = _store(record, store)
        if target.wandb:
            mirror([stored], target.folder)

    if trials:
        run_pack(trials, target.benchmark, [_keeper(trial, target) for trial in trials], finished)


def _check(trial: Trial, target: Target) -> None:
    """Raise Paused where the run was asked to stop, UserError where this node does not see the results."""
    if target.stopped:
        raise Paused(f"trial {trial.id} was not started")
    check_shared(target)


def check_shared(target: Target) -> None:
    """Raise UserError on a node that does not see the results: one that came after the look at all of them."""
    if target.shared and not Path(target.shared).is_dir():
        raise UserError(Fault("this node does not see the results folder", target.root, remedy="mount it there"))


def _keeper(trial: Trial, target: Target) -> Keeper:
    from harness.checkpoint import Checkpoints
    from harness.keeper import EVERY, Keeper

    checkpoints = Checkpoints(target.store().checkpoint_folder(trial.id), trial.id)
    return Keeper(checkpoints, EVERY if target.checkpoint_seconds is None else target.checkpoint_seconds, target.stop)


def _store(record: Record, store: Store) -> Record:
    """Write a record; its checkpoint has done its service. What is stored is what counts, and what a W&B run is bound
    to."""
    from harness.checkpoint import Checkpoints

    store.write(record)
    Checkpoints(store.checkpoint_folder(record.trial_id), record.trial_id).remove()
    return store.read(record.trial_id)


def _go_on(target: Target, holder: str) -> None:
    """Wait for the holder of a claim, unless the run was asked to stop."""
    if target.stopped:
        raise Paused(f"stopped while {holder} ran the trial")


def mirror(records: Iterable[Record], folder: Path, say: Callable[[str], object] | None = None) -> None:
    """Write the W&B runs that are not there. W&B is a mirror: whatever goes wrong there costs no result and is said
    once, to `say`."""
    from harness import tracking

    faults: list[tuple[Record, Exception]] = []
    count = itertools.count()
    for record in tracking.missing((record for record, _ in zip(records, count, strict=False)), folder):
        try:
            tracking.publish(record, folder)
        except Exception as error:  # any fault of a third party's tool, none of which may lose a trial
            faults.append((record, error))
    if faults and say:
        first, fault = faults[0]
        what = redact.text(f"{type(fault).__name__}: {fault}")
        say(f"warning: no W&B run for {len(faults)} of {next(count)} trials, {first.trial_id} the first: {what}")
