"""Which trials are packed with which, and what is said of the others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness import registry
from harness.errors import UserError
from harness.pack.plan import MOST, alone, asked, plan, shape_of
from harness.trial import Trial


def trial(**changes: Any) -> Trial:
    plain = {"task": {"name": "digits"}, "cell": {"name": "gru"}, "examples": 100}
    return Trial(**plain | changes).normalised()


def never(of: Trial, size: int, work: float) -> float:
    raise AssertionError("nothing needs to be measured")


def seeds(count: int, **changes: Any) -> list[Trial]:
    return [trial(seed=seed, **changes) for seed in range(count)]


@pytest.mark.parametrize("pack", ["x", "1", "-3", "0", "99999", ""])
def test_what_is_no_size_of_a_pack_is_the_users_fault(pack):
    with pytest.raises(UserError, match=r"allowed: auto, off, or the most trials(.|\n)*try: --pack auto"):
        asked(pack)


def test_the_words_and_the_numbers():
    assert asked("auto") is None and asked("off") == 1 and asked("16") == 16


def test_off_packs_nothing_and_measures_nothing():
    members = seeds(3)
    assert plan(members, 1, 1, never) == ([[one] for one in members], [])


def test_a_number_makes_as_few_packs_as_there_must_be_of_about_one_size():
    found = plan(seeds(10), 4, 1, never)
    assert [len(pack) for pack in found.packs] == [3, 4, 3] or [len(pack) for pack in found.packs] == [3, 3, 4]
    assert found.told == ["10 trials train in 3 packs of up to 4"]


@pytest.mark.parametrize("most", [None, 4])
def test_where_nothing_packs_it_is_said(most):
    found = plan([trial(hidden_size=size) for size in (4, 8, 16)], most, 1, never)
    assert [len(pack) for pack in found.packs] == [1, 1, 1]
    assert found.told == ["3 trials train by themselves: no two of them have one shape"]
    assert plan(seeds(2), None, 2, never).told == ["2 trials train by themselves: all of one shape run at once"]
    assert plan(seeds(1), most, 1, never).told == []


def test_what_may_differ_in_a_pack_and_what_may_not():
    same = [{"seed": 7}, {"learning_rate": 1.0}, {"clip_norm": 1.0}, {"clip_agc": 0.1}, {"weight_decay": 0.1}]
    same += [{"schedule": "cosine"}, {"select": "best"}, {"shuffled_targets": True}]
    other = [{"hidden_size": 3}, {"batch_size": 3}, {"examples": 7}, {"optimizer": "sgd"}, {"bptt_length": 3}]
    other += [{"probe_every": 7}, {"evaluations": 3}, {"precision": "float64"}, {"layers": 2}, {"kernel": "loop"}]
    other += [{"threads": 2}, {"bidirectional": True}, {"cell": {"name": "elman"}}]
    assert all(shape_of(trial(**changes)) == shape_of(trial()) for changes in same)
    assert all(shape_of(trial(**changes)) != shape_of(trial()) for changes in other)


def test_every_setting_decides_what_may_share_a_pack():
    """None is forgotten: a setting is either one in which trials may differ, or part of the shape."""
    from harness.pack.plan import OWN

    assert {name for name in Trial.model_fields if f'"{name}"' in shape_of(trial())} == Trial.model_fields.keys() - OWN


STARTING = [(name, setting) for name, kind in registry.members("harness.cells").items() for setting in kind.starts]


@pytest.mark.parametrize(("name", "setting"), STARTING)
def test_a_setting_that_is_said_to_decide_the_start_alone_changes_no_step(name, setting):
    """The start differs, the step does not; so such trials share a pack."""
    one, other = (registry.build("cell", {"name": name, setting: value}) for value in (0.25, 3.0))
    torch.manual_seed(0)
    weights = SimpleNamespace(**{n: torch.randn(shape) for n, shape in one.weights(4).items()})
    wx_BG, state = torch.randn(2, one.gates * 4), tuple(torch.randn(2, 4) for _ in one.states)
    assert torch.equal(one.step(weights, wx_BG, state)[0], other.step(weights, wx_BG, state)[0])
    names = ["bias_ih", *one.weights(4)]
    assert [one.start(n, 4) for n in names] != [other.start(n, 4) for n in names]
    assert shape_of(trial(cell=one.plain())) == shape_of(trial(cell=other.plain()))


REASONS: dict[str, dict[str, Any]] = {
    "a decoder writes": {"task": {"name": "reversal"}},
    "over all steps": {"task": {"name": "ner"}},
    "precision is": {"precision": "bfloat16-mixed"},
}


@pytest.mark.parametrize("why", REASONS)
def test_what_cannot_be_packed_says_why(why):
    members = seeds(2, **REASONS[why])
    assert why in alone(members[0])
    found = plan(members, 16, 1, never)
    assert [len(pack) for pack in found.packs] == [1, 1] and len(found.told) == 1
    assert found.told[0].startswith("2 trials train by themselves: ") and why in found.told[0]


def test_auto_asks_what_it_wins_and_leaves_every_worker_something():
    asks: list[int] = []

    def gain(of: Trial, size: int, work: float) -> float:
        asks.append(size)
        return 3.0

    assert [len(pack) for pack in plan(seeds(10), None, 2, gain).packs] == [5, 5]
    assert [len(pack) for pack in plan(seeds(3 * MOST), None, 1, gain).packs] == [MOST] * 3
    assert [len(pack) for pack in plan(seeds(66), None, 2, gain).packs] == [11] * 6, "five would leave one worker idle"
    assert asks == [5, MOST, 11] and [len(pack) for pack in plan(seeds(2), None, 2, never).packs] == [1, 1]


def test_auto_packs_nothing_where_that_is_no_faster_and_says_so():
    found = plan(seeds(4), None, 1, lambda of, size, work: 1.05)
    assert [len(pack) for pack in found.packs] == [1] * 4
    assert found.told == ["4 trials train by themselves: gru, 4 at once: 1.05 times as fast"]


def test_auto_measures_nothing_for_little_work_and_says_so():
    found = plan(seeds(4), None, 1, lambda of, size, work: float("nan"))
    assert found.told == ["4 trials train by themselves: gru, 4 at once: too little work to measure it"]
