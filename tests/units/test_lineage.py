"""What a population remembers: as it was written, or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.launch.lineage import KEPT, Exchange, Lineage
from harness.launch.target import Target
from harness.training.guided import Beginning
from harness.trial import Trial

TRIAL = Trial(task={"name": "digits"}, cell={"name": "gru"}, examples=100)
BOUND = {"data": "d", "code": "c"}


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(str(tmp_path), "b", "fp", wandb=False)


def lineage(target: Target, number: int = 0, every: int = 2) -> Lineage:
    return Lineage(target, json.dumps({"study": "s" * 16, "search": "12345678", "try": number}), TRIAL, every)


def added(one: Lineage, *evaluations: int) -> None:
    for at in evaluations:
        one.add(Beginning(at, f"state {at}".encode()), 10 * at, at / 7, 1.5 * at, BOUND)


def test_exchanges_are_told_again_as_they_were(target):
    added(lineage(target), 2, 4)
    found = lineage(target, number=3).known(BOUND)  # another try of the same settings knows it too
    assert {at: each[:3] for at, each in found.items()} == {2: (20, 2 / 7, 3.0), 4: (40, 4 / 7, 6.0)}
    assert lineage(target, number=3).state(4, found[4].sha256) == b"state 4"


def test_of_each_try_the_states_of_its_last_exchanges_are_kept(target):
    added(lineage(target, 0), 2, 4, 6, 8)
    added(lineage(target, 1), 2)
    found = lineage(target).known(BOUND)
    kept = [at for at, each in found.items() if lineage(target).state(at, each.sha256)]
    assert list(found) == [2, 4, 6, 8] and kept == [2, 6, 8] and len(kept) == KEPT + 1


@pytest.mark.parametrize("bound", [{"data": "other", "code": "c"}, {"data": "d"}])
def test_what_was_made_under_other_conditions_is_not_known(target, bound):
    added(lineage(target), 2)
    assert not lineage(target).known(bound)


def test_damage_is_noticed_and_costs_time_alone(target):
    one = lineage(target)
    added(one, 2)
    (state,) = one.folder.glob("0-2-*")
    state.write_bytes(state.read_bytes()[:-1] + b"x")
    assert one.state(2, one.known(BOUND)[2].sha256) == b""
    text = one.path.read_text()
    for damaged in (text.replace("[20, ", "[21, "), text[:-9], "", "[]", "null"):
        assert damaged != text
        one.path.write_text(damaged)
        assert one.known(BOUND) == {}


def test_a_full_disk_costs_the_memory_and_not_the_population(target, monkeypatch, capsys):
    def full(*args: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    added(lineage(target), 2)
    assert "is not remembered at evaluation 2: " in capsys.readouterr().out and not lineage(target).known(BOUND)


@pytest.mark.parametrize(
    ("status", "heard", "last", "ended"),
    [("ok", 5, 4, True), ("ok", 5, 2, False), ("ok", 4, 2, True), ("diverged", 4, 2, False), ("failed", 0, 0, True)],
)
def test_a_member_is_over_where_all_is_remembered_that_others_may_ask_for(
    target, make_record, status, heard, last, ended
):
    record = make_record(status=status, curve_valid_score=[0.0] * heard)
    known = {at: Exchange(at, 0.0, 0.0, "") for at in range(2, last + 1, 2)}
    assert lineage(target).ended(record, known) is ended
