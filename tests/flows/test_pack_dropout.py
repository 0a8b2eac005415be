"""Trials that drop units share updates as well: each draws the masks that it draws by itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from packs import ADDING, DIGITS, STREAM, differences, packed, same_as_alone, trials
from test_pack import paused

from harness.engine import run_trial
from harness.pack.dropping import Masks, drawing_from, undrawn
from harness.pack.plan import alone
from harness.training.keeper import Keeper
from harness.trial import Trial

DROPS: dict[str, Any] = {"dropout": 0.2, "input_dropout": 0.1, "output_dropout": 0.3, "layers": 2}
MEMBERS: list[dict[str, Any]] = [{}, {"learning_rate": 0.01, "clip_norm": 0.5}, {"clip_agc": 0.01}]
KINDS: dict[str, dict[str, Any]] = {
    "at the end": DIGITS,
    "by the plain loop": DIGITS | {"kernel": "loop"},
    "windows that overlap": ADDING | {"bptt_length": 5, "bptt_stride": 3},
    "both directions": DIGITS | {"bidirectional": True},
    "a stream": STREAM,
}


def members(kind: str, cell: str, **more: Any) -> list[Trial]:
    return trials(*MEMBERS, cell={"name": cell}, **KINDS[kind] | DROPS | more)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_a_packed_trial_is_the_trial_alone(cell, kind):
    records = same_as_alone(members(kind, cell), 1e-5)
    assert {record.packed for record in records} == {3}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["gru", "mgu", "mingru"])
def test_in_float64_it_is_so_to_nine_digits(cell, kind):
    same_as_alone(members(kind, cell, precision="float64"), 1e-9)


def test_so_it_is_where_updates_are_made_by_each_trial_for_itself():
    """Streams that go from document to document: a window is as long as what is left of the longest."""
    task = {"name": "autocomplete", "characters": 3_000, "documents": "files"}
    same = {"task": task, "bptt_length": 30, "batch_size": 5, "tokens": 1_500, "cell": {"name": "gru"}}
    same_as_alone(trials(*MEMBERS, precision="float64", **same | DROPS), 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["at the end", "a stream"])
def test_a_pack_that_is_stopped_goes_on_with_the_masks_that_are_due(kind, tmp_path):
    given = members(kind, "gru")
    places = paused(given, tmp_path, [3, 11, 16])
    records = packed(given, [Keeper(place, 3600) for place in places])
    for record, whole in zip(records, packed(given), strict=True):
        assert record.attempts == 4 and repr(record.without_times()) == repr(whole.without_times())


def test_what_a_pack_left_goes_on_alone_and_the_other_way_round(tmp_path):
    given = members("at the end", "elman", precision="float64")
    places = paused(given, tmp_path, [11])
    first = run_trial(given[0], keeper=Keeper(places[0], 3600))
    others = packed(given[1:], [Keeper(place, 3600) for place in places[1:]])
    for record, trial in zip([first, *others], given, strict=True):
        assert record.attempts == 2 and not differences(record, run_trial(trial), 1e-10)


def test_one_that_is_left_of_a_pack_draws_from_its_own_seed(tmp_path):
    """Of three, two are at a checkpoint; the third begins, by itself but in the same call."""
    given = members("at the end", "elman", precision="float64")
    places = paused(given, tmp_path, [11])
    records = packed(given, [*(Keeper(place, 3600) for place in places[:2]), Keeper()])
    assert [record.packed for record in records] == [2, 2, 1]
    for record, trial in zip(records, given, strict=True):
        assert not differences(record, run_trial(trial), 1e-10)


def test_what_finds_nothing_or_fails_has_drawn_nothing():
    generators = [torch.Generator().manual_seed(seed) for seed in range(2)]
    masks, x = Masks(generators), torch.ones(4, 3)
    before = [generator.get_state() for generator in generators]

    def draw(fails: bool) -> None:
        masks(x, 0.5, True)
        if fails:
            raise MemoryError

    assert undrawn(generators, lambda: draw(fails=False)) is None
    with pytest.raises(MemoryError):
        undrawn(generators, lambda: draw(fails=True))
    assert all(torch.equal(g.get_state(), state) for g, state in zip(generators, before, strict=True))
    found = undrawn(generators, lambda: masks(x, 0.5, True))
    assert found is not None and not torch.equal(generators[0].get_state(), before[0])
    torch.manual_seed(7)
    with drawing_from(torch.Generator().manual_seed(1)):
        wanted = torch.nn.functional.dropout(x[:2], 0.5, True)
    assert torch.equal(wanted, found[2:]) and torch.equal(torch.get_rng_state(), torch.manual_seed(7).get_state())
    assert masks(x, 0.5, False) is x and masks(x, 0.0, True) is x


def test_those_that_do_not_pack_say_why(tmp_path):
    (one,) = trials({}, task={"name": "digits"}, examples=100, output_dropout=0.1, cell={"name": "gru"})
    assert alone(one) == "" and alone(one, gpu=True) == "dropout on a GPU draws from one generator for all"
    assert alone(one.model_copy(update={"output_dropout": 0.0}), gpu=True) == ""
    folder = tmp_path / "tagged"
    folder.mkdir()
    for split in ("train", "valid", "test"):
        (folder / f"{split}.txt").write_text("a A\nb B\n\na A\n\n" * 8)
    (long,) = trials(
        {}, task={"name": "pos", "data": str(folder)}, examples=100, output_dropout=0.1, cell={"name": "gru"}
    )
    assert "masks as long as a trial's own batch" in alone(long)
