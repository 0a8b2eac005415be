"""CPU time in the record of a trial: what it holds, what it does not run for, and who has none."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Any

import pytest
from stopping import At

from harness.engine import run_trial
from harness.errors import Paused
from harness.pack.run import run_pack
from harness.record import TIMED, Record
from harness.stats.quarters import QUARTERS
from harness.stop import Stop
from harness.training.checkpoint import Checkpoints
from harness.training.keeper import Keeper
from harness.trial import Trial

TRIAL = Trial(
    task={"name": "adding", "length": 16, "train_examples": 200, "valid_examples": 40, "test_examples": 40},
    cell={"name": "gru"}, hidden_size=8, examples=640, evaluations=2,
).normalised()  # fmt: skip


class Waits(Keeper):
    """Sleeps after every update, as one that waits for a disk, or for its turn."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        super().on_train_start(trainer, pl_module)
        pl_module.after_update.insert(0, lambda *_: time.sleep(0.01))


def test_a_trial_has_the_quickest_update_of_each_quarter_and_its_share_of_a_core():
    record = run_trial(TRIAL)
    assert len(record.update_cpu_seconds) == QUARTERS and 0 < record.cpu_share
    assert all(0 < each <= max(record.update_seconds) for each in record.update_cpu_seconds)
    assert {"update_cpu_seconds", "cpu_share"} <= TIMED


def test_waiting_takes_no_cpu_time():
    record = run_trial(TRIAL, keeper=Waits())
    steady = record.update_seconds[record.warmup_updates :]
    assert min(steady) >= 0.01 and min(record.update_cpu_seconds) < min(steady) - 0.008 and record.cpu_share < 0.9


def test_each_trial_of_a_pack_has_its_share():
    found: list[Record] = []
    trials = [TRIAL.seeded(seed) for seed in range(4)]
    run_pack(trials, "", [Keeper() for _ in trials], lambda trial, record, weights: found.append(record))
    assert [len(each.update_cpu_seconds) for each in found] == [QUARTERS] * 4
    for each in found:
        steady = sum(each.update_seconds[each.warmup_updates :])
        assert (
            0 < min(each.update_cpu_seconds) * (each.updates - each.warmup_updates) <= each.cpu_share * steady * 1.001
        )


@pytest.mark.parametrize("change", [{"threads": 2}, {"examples": 64}], ids=["two threads", "too short"])
def test_what_says_nothing_of_an_update_is_not_kept(change):
    record = run_trial(TRIAL.model_copy(update=change))
    assert record.status == "ok" and record.update_cpu_seconds == []
    assert math.isnan(record.cpu_share) == ("threads" in change)


def test_a_trial_that_goes_on_has_the_cpu_time_of_all_its_updates(tmp_path):
    """The second attempt makes one update, and a quarter of all takes more than that."""
    last = math.ceil(TRIAL.examples / TRIAL.batch_size) - 1
    begin = partial(Checkpoints, tmp_path / "checkpoint", TRIAL.id)
    with pytest.raises(Paused):
        run_trial(TRIAL, keeper=At(begin(), last, Stop(str(tmp_path / ".stop" / "asked"))))
    record = run_trial(TRIAL, keeper=Keeper(begin()))
    assert record.attempts == 2 and record.updates == last + 1 and len(record.update_cpu_seconds) == QUARTERS
