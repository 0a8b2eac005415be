"""The clock of phases, and what is made of it: nothing is counted twice, and nothing is left out."""

from __future__ import annotations

import math
import time

import pytest

from harness import spent
from harness.cli import main as cli
from harness.report import spending
from harness.spent import Clock
from harness.storage import store

BENCHMARK = """
question: Where does it go?
seeds: 2
set: {examples: 320, hidden_size: 4, probe_every: 3}
sweep:
  - {task: {name: adding, length: 8}, cell: elman}
"""


def test_phases_add_up_to_the_time_that_passed():
    clock = Clock()
    clock.take(outside=False), clock.take(outside=True)
    begin = time.perf_counter()
    with clock.on("data"):
        time.sleep(0.02)
        with clock.on("log"):
            time.sleep(0.03)
    time.sleep(0.01)
    inside, outside = clock.take(outside=False), clock.take(outside=True)
    passed = time.perf_counter() - begin
    assert set(outside) == {"log"} and set(inside) == {"data", "rest"}
    assert inside["data"] >= 0.02 and outside["log"] >= 0.03 and inside["rest"] >= 0.01
    assert sum(inside.values()) + sum(outside.values()) == pytest.approx(passed, abs=2e-3)


def test_a_phase_ends_with_whatever_ended_it():
    """An evaluation that fails never says that it is over; the training around it does."""
    clock = Clock()
    with pytest.raises(ZeroDivisionError), clock.on("train"):
        clock.enter("evaluate")
        raise ZeroDivisionError
    clock.take(outside=False)
    time.sleep(0.01)
    assert set(clock.take(outside=False)) == {"rest"}


def test_a_record_is_accounted_for_to_the_last_second(make_record):
    """Ten updates of 10 ms, the first of 60, looks at 1 to 4 and 9 of 5 ms more; 5 ms of Lightning around them."""
    times = [0.060, *[0.015] * 4, *[0.010] * 4, 0.015]
    record = make_record(
        trial='{"probe_every": 9}', update_seconds=times, warmup_updates=5, train_seconds=math.fsum(times), seconds=1.0,
        spent_names=["data", "train", "evaluate", "rest"], spent_seconds=[0.1, math.fsum(times) + 0.005, 0.2, 9.0],
    )  # fmt: skip
    found = spending.of_record(record)
    assert found["warm-up"] == pytest.approx(0.05) and found["looks"] == pytest.approx(5 * 0.005)
    assert found["updates"] == pytest.approx(10 * 0.010) and found["lightning"] == pytest.approx(0.005)
    assert math.fsum(found.values()) == pytest.approx(1.0)


def test_a_record_of_before_the_clock_still_tells_updates_from_the_rest(make_record):
    found = spending.of_record(make_record(train_seconds=3.0, seconds=4.0))
    assert found["updates"] == 3.0 and found["rest"] == 1.0


def test_goodput_is_the_share_of_slots_that_trained():
    found = spending.command({"wall": 10.0, "slots": 2, "spent": {"log": 1.0}, "trials": []}, own=15.0, updates=12.0)
    assert found["goodput"] == 0.6 and found["idle"] == pytest.approx(4.0)


def test_every_command_leaves_its_account_and_the_report_tells_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "go.yaml").write_text(BENCHMARK)
    assert cli.main(["run", "go.yaml", "--on", "inline"]) == 0
    (path, account), *none = spent.commands(tmp_path / "results" / "go")
    assert not none and path.name.endswith(spent.SUFFIX)
    records = store.open_folder(tmp_path / "results" / "go")
    assert account["trials"] == sorted(record.trial_id for record in records)
    assert {"store", "log"} <= set(account["spent"]) and account["wall"] >= sum(record.seconds for record in records)
    for record in records:
        assert {"data", "model", "train", "evaluate", "probe"} <= set(record.spent_names)
        found = spending.of_record(record)
        assert math.fsum(found.values()) - found.get("calibrate", 0.0) == pytest.approx(record.seconds, rel=0.02)
    capsys.readouterr()
    assert cli.main(["report", "go.yaml", "--where-time-goes"]) == 0
    told = capsys.readouterr().out
    assert "adding elman" in told and path.name.removesuffix(spent.SUFFIX) in told and "goodput" in told
    assert cli.main(["run", "go.yaml", "--on", "inline"]) == 0
    assert len(list(spent.commands(tmp_path / "results" / "go"))) == 1, "nothing ran, so nothing was spent"
