"""`--pack auto`: what is measured is remembered, and what it decides is never slower."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from packs import packed

from harness.engine import run_trial
from harness.pack import calibrate, gains
from harness.pack.plan import WORTH, plan
from harness.trial import Trial

WORK = 1e6
"""Seconds of work beside which a measurement is nothing."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds nothing."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "packs"


def members(count: int, cell: str, updates: int = 30, **more: Any) -> list[Trial]:
    task = {"name": "adding", "length": 32, "train_examples": 500, "valid_examples": 20, "test_examples": 20}
    plain = {"task": task, "hidden_size": 16, "batch_size": 32, "evaluations": 1, "examples": 32 * updates}
    return [Trial(**{**plain, "cell": {"name": cell}, "seed": seed, **more}).normalised() for seed in range(count)]


def test_what_was_measured_is_remembered_for_this_shape_and_size(cache):
    one, *_ = members(1, "elman")
    found = gains.gain(one, 8, WORK)
    (file,) = cache.glob("*.json")
    assert json.loads(file.read_bytes())["gain"] == found > 1
    file.write_text(json.dumps({"gain": 123.0}))
    assert gains.gain(one.model_copy(update={"seed": 9, "learning_rate": 1.0}), 8, WORK) == 123.0
    assert gains.gain(one, 8, 0.0) == 123.0, "what is known costs nothing"
    assert gains.gain(one, 7, WORK) != 123.0
    file.write_text("{")
    assert gains.gain(one, 8, WORK) != 123.0, "a damaged file is measured anew"


def test_for_little_work_nothing_is_measured(cache):
    assert math.isnan(gains.gain(members(1, "gru")[0], 8, 1.0))
    assert math.isnan(gains.gain(members(1, "lstm")[0], 8, 10 * gains.LEAST)), "of which there is little to win"
    assert not cache.exists()


def test_sequences_of_unequal_lengths_have_nothing_to_win(cache):
    """Streams of many documents: their windows rarely have the same shape."""
    task = {"name": "autocomplete", "characters": 60_000, "documents": "files"}
    one, *_ = members(1, "gru", task=task, examples=None, tokens=1_500, bptt_length=30)
    assert gains.gain(one, 8, WORK) == 1.0


KINDS: list[dict[str, Any]] = [
    {"task": {"name": "autocomplete"}, "tokens": 10_000, "examples": None, "bptt_length": 16},
    {"task": {"name": "missing-symbol"}, "bptt_length": 8},
    {"task": {"name": "digits", "steps": 8}, "layers": 2, "optimizer": "sgd", "precision": "float64"},
    {"bidirectional": True},
    {"bptt_length": 8, "bptt_stride": 4},
]


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_every_kind_of_trial_that_packs_can_be_measured(kind):
    found = calibrate.measure(members(1, "gru", **KINDS[kind])[0], 3, rounds=1)
    assert found.ratios and all(seconds > 0 for seconds in found.alone + found.packed)


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_auto_is_never_slower(cell):
    """The time of training of 8 trials as auto puts them, against one by one, in turn: with room for a busy machine."""
    todo = members(8, cell, updates=60)
    packs = plan(todo, None, 1, lambda trial, size, work: gains.gain(trial, size, WORK)).packs
    if all(len(pack) == 1 for pack in packs):
        return  # they train as they do without it
    ratios = []
    for _ in range(3):
        alone = statistics.mean(run_trial(trial).train_seconds for trial in todo[:2])
        together = statistics.mean(record.train_seconds for pack in packs for record in packed(pack))
        ratios.append(alone / together)
    assert statistics.median(ratios) > 1 / WORTH, ratios


@pytest.mark.slow
def test_what_is_known_is_found_without_torch(run_python):
    """Which takes a command longer to import than all else that it does before a trial starts."""
    code = """
    import sys
    from harness.pack import gains
    from harness.trial import Trial
    trial = Trial.from_canonical(sys.argv[1])
    gain = gains.gain(trial, 8, 1e6) if sys.argv[2] == "measure" else gains.gain(trial, 8, 0.0)
    print(gain, "torch" in sys.modules)
    """
    (one, *_) = members(1, "elman")
    first, again = (run_python(code, one.canonical(), how).communicate()[0].split() for how in ("measure", "known"))
    assert float(first[0]) > 1 and first[1] == "True" and again == [first[0], "False"]
