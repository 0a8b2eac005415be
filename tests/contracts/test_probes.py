"""Laws of every probe, found by being there: what it keeps is plain, and with it another one answers the same."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from stopping import At

from harness.engine import run_trial
from harness.errors import Paused
from harness.probes import attach
from harness.probes.base import Probe
from harness.stop import Stop
from harness.training.checkpoint import Checkpoints, packed, unpacked
from harness.trial import Trial

TRIAL = Trial(
    task={"name": "autocomplete", "characters": 1_000}, cell={"name": "lstm"}, hidden_size=4, layers=2, dropout=0.2,
    bptt_length=8, batch_size=20, tokens=2_400, clip_norm=0.3, probe_every=4, evaluations=2, learning_rate=0.01,
).normalised()  # fmt: skip
PROBES = {type(probe).__name__: type(probe) for probe in attach(TRIAL)}


@pytest.fixture(scope="module", params=[1, 5, 8, 9, 15])
def course(request, tmp_path_factory) -> Any:
    """A trial stopped after so many of its 15 updates: before, at and after the ones that single probes look at."""
    folder = tmp_path_factory.mktemp("stopped")
    keeper = At(Checkpoints(folder / "checkpoint", TRIAL.id), request.param, Stop(str(folder / ".stop" / "asked")))
    with pytest.raises(Paused):
        run_trial(TRIAL, keeper=keeper)
    return keeper.course


def equal(a: Any, b: Any) -> bool:
    """Deep equality in which NaN equals NaN."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return (type(a) is type(b) and a == b) or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


@pytest.mark.parametrize("name", PROBES)
def test_with_what_it_keeps_another_probe_answers_the_same(name, course):
    (probe,) = [probe for probe in course.probes if type(probe).__name__ == name]
    state = probe.state()
    again = unpacked(packed(state))  # with weights_only: plain types, or this raises
    assert equal(state, again)
    other = PROBES[name](TRIAL)
    other.load_state(again)
    for each in (probe, other):
        each.on_train_end(None, course.module)
    assert equal(probe.observed(), other.observed())


@pytest.mark.parametrize("name", PROBES)
def test_what_it_keeps_is_what_it_began_with(name):
    """So that it is there before the first update too."""
    fresh = PROBES[name](TRIAL)
    assert fresh.kept and fresh.state().keys() == set(fresh.kept)
    with pytest.raises(KeyError, match="keeps"):
        fresh.load_state({})


@pytest.mark.parametrize("name", PROBES)
def test_every_attribute_that_training_changes_is_kept_or_anew_at_each_update(name, course):
    """A probe that forgets one would answer otherwise after a resumption: whatever is not kept is as in a fresh probe,
    or is of the update that is over, and named here with the reason."""
    passing = {
        "UpdateRatio": {"before"},  # weights before the update: taken anew at each one that is sampled
        "Throughput": {"mark", "cpu_mark"},  # the clocks, which start again
        "Activations": {"open"},  # closed between updates
    }
    (probe,) = [probe for probe in course.probes if type(probe).__name__ == name]
    fresh = vars(PROBES[name](TRIAL))
    changed = {key for key, value in vars(probe).items() if not equal(value, fresh[key]) and key != "found"}
    assert changed <= {*PROBES[name].kept, *passing.get(name, set())}


def test_a_probe_that_does_not_say_what_it_keeps_is_refused():
    with pytest.raises(AssertionError, match=r"Forgetful: declare `kept`"):

        class Forgetful(Probe):
            """Counts, and tells nobody."""

            def observed(self) -> dict[str, Any]:
                return {}
