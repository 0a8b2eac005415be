"""Two workers that are stopped and go on are two workers that were never stopped, and one that fails ends both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from test_resume import BASE, TRIALS, stops
from together import Together

from harness.data.batches import Batch
from harness.data.parts import Parts
from harness.engine import run_trial
from harness.errors import Paused
from harness.record import Record
from harness.stop import Stop
from harness.training.checkpoint import Checkpoints
from harness.training.keeper import Keeper
from harness.training.workers import Workers
from harness.trial import Trial

Ended = tuple[Record, list[bytes]]


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Iterator[Together]:
    group = Together(2, tmp_path_factory.mktemp("group"))
    yield group
    group.close()


def trial(kind: str) -> Trial:
    return Trial(**BASE | TRIALS[kind] | {"workers": 2}).normalised()


class Before(Keeper):
    """A keeper that is asked to stop before this update is made (counted from 1), so that all hear of it in it."""

    def __init__(self, checkpoints: Checkpoints | None, update: int, stop: Stop) -> None:
        super().__init__(checkpoints, every=3600, stop=stop)
        self.update = update

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        super().on_train_start(trainer, pl_module)
        if self.checkpoints:
            pl_module.before_update.append(self._ask)

    def _ask(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if pl_module.updates == self.update - 1:
            assert self.stop is not None and self.stop.ask()
            self._stopping = True
            self.ask()


def whole(workers: Workers, asked: Trial) -> Ended:
    kept: list[bytes] = []
    return run_trial(asked, keep=kept.append, workers=workers), kept


def stopped(workers: Workers, asked: Trial, folder: Path, updates: list[int]) -> Ended:
    """Stop after each of these updates and go on; only the first worker knows of checkpoints."""
    place, stop, kept = folder / f"{asked.id}.checkpoint", Stop(str(folder / "asked")), []
    known = None if workers.rank else Checkpoints(place, asked.id)
    for update in updates:
        with pytest.raises(Paused, match=f"after update {update}$"):
            run_trial(asked, keeper=Before(known, update, stop), workers=workers)
        workers.all(None)  # both have stopped before the request is withdrawn
        if not workers.rank:
            stop.withdraw()
            known = Checkpoints(place, asked.id)
    record = run_trial(asked, keep=kept.append, keeper=Keeper(known, every=3600), workers=workers)
    if known:
        known.remove()
    return record, kept


def same(one: Ended, other: Ended) -> bool:
    return repr(one[0].without_times()) == repr(other[0].without_times()) and one[1] == other[1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRIALS)
def test_two_workers_stopped_after_every_update_are_the_same_trial(kind, together, tmp_path):
    expected = together(whole, trial(kind))[0]
    every = [*stops(expected[0])]
    found = together(stopped, trial(kind), tmp_path, every)[0]
    assert found[0].attempts == len(every) + 1 and same(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["shuffled, dropout, windows, cosine", "a stream of one document"])
def test_two_workers_stopped_after_any_update_are_the_same_trial(kind, together, tmp_path):
    expected = together(whole, trial(kind))[0]
    for update in stops(expected[0]):
        found = together(stopped, trial(kind), tmp_path, [update])[0]
        assert found[0].attempts == 2 and same(found, expected), f"after update {update}"


def test_each_worker_drops_units_of_its_own():
    seeds = [Workers(rank, 4).seed(7) for rank in range(4)]
    assert seeds[0] == 7 and len({seed % 2**32 for seed in seeds}) == 4


class Poisoned(Parts):
    """In the third update one worker reads a number that is none."""

    def __iter__(self) -> Iterator[Batch]:
        for number, batch in enumerate(super().__iter__()):
            if self.rank == 1 and number == 2:
                batch.inputs[0, 4] = torch.nan
            yield batch


class Harmed(Workers):
    def updates(self, batches):
        return Poisoned(batches, self.rank, self.count)


def poisoned(workers: Workers, asked: Trial) -> Record:
    return run_trial(asked, workers=Harmed(workers.rank, workers.count))


@pytest.mark.slow
def test_what_one_worker_sees_ends_all_at_the_same_update_and_is_named(together):
    records = together(poisoned, trial("shuffled, dropout, windows, cosine"))
    for record in records:
        assert record.status == "diverged" and record.updates == record.failed_update == 3, record.traceback
        assert (record.failed_layer, record.failed_step) == ("input", 4)
        assert record.reason.startswith("worker 1 of 2: the input is not finite; loss nan")
    assert records[0].weights_sha256 == records[1].weights_sha256, "neither made the update"


def fails(workers: Workers, asked: Trial) -> str:
    """One worker has other data: refused by both, before anything is trained."""
    other = asked.model_copy(update={"seed": 1}) if workers.rank else asked
    with suppress(RuntimeError):
        return run_trial(other, workers=workers).reason
    return ""


@pytest.mark.slow
def test_workers_that_read_other_data_are_refused(together):
    for rank, reason in enumerate(together(fails, trial("shuffled, dropout, windows, cosine"))):
        assert reason.startswith(f"worker {rank} of 2: ValueError: data: worker {1 - rank} has ")
