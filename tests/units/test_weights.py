"""What was trained is kept beside its record: whole or absent, before the record, and never taken for another's."""

from __future__ import annotations

import errno
import io
import os
import pickle

import pytest
import torch

from harness import engine
from harness.errors import Stopped
from harness.launch.base import Target, execute
from harness.models import weights
from harness.storage import files
from harness.storage.store import Store, open_folder
from harness.training.module import RecurrentModule
from harness.trial import Trial

ID = "0123456789abcdef"
TRIAL = Trial(
    task={"name": "digits", "steps": 8}, cell={"name": "gru"}, hidden_size=8, examples=64, evaluations=1
).normalised()


def untrained(**more: object) -> RecurrentModule:
    trial = TRIAL.model_copy(update=more)
    return RecurrentModule(trial, trial.build_task(), trial.build_cell())


@pytest.fixture
def target(results):
    return Target(str(results), "quick", "fp", wandb=False)


def test_a_trained_trial_has_its_weights_and_they_are_the_records(target):
    record = execute(TRIAL, target)
    data = target.store().weights_path(record.trial_id).read_bytes()
    tensors = torch.load(io.BytesIO(data), weights_only=True)
    assert sum(tensor.numel() for tensor in tensors.values()) == record.parameters
    model = untrained(seed=7).model
    assert weights.digest(model) != record.weights_sha256
    weights.restore(model, data, record.weights_sha256)
    assert weights.digest(model) == record.weights_sha256
    assert open_folder(target.folder)[0].trial_id == record.trial_id and target.store().ids() == {record.trial_id}


def test_equal_trials_keep_equal_bytes(target, tmp_path):
    other = Target(str(tmp_path / "other"), "quick", "fp", wandb=False)
    one, two = (where.store().weights_path(execute(TRIAL, where).trial_id) for where in (target, other))
    assert one.read_bytes() == two.read_bytes()


def test_weights_are_not_kept_where_nobody_asks(results):
    target = Target(str(results), "quick", "fp", wandb=False, weights=False)
    record = execute(TRIAL, target)
    assert os.listdir(target.store().folder) == [f"{record.trial_id}.parquet"]


def test_a_trial_that_did_not_end_well_keeps_none(target):
    record = execute(TRIAL.model_copy(update={"learning_rate": 1e30, "optimizer": "sgd"}), target)
    assert record.status == "diverged" and os.listdir(target.store().folder) == [f"{record.trial_id}.parquet"]


def test_a_kill_between_the_two_leaves_no_record_and_the_next_run_both(target, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        execute(TRIAL, target)
    store = target.store()
    left = store.weights_path(TRIAL.id).read_bytes()
    assert not store.has(TRIAL.id) and not store.ids() and store.read_all() == []
    store.weights_path(TRIAL.id).write_bytes(left[:100])
    record = execute(TRIAL, target)
    assert store.has(TRIAL.id) and store.weights_path(TRIAL.id).read_bytes() == left and record.status == "ok"


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_whichever_call_fails_there_is_no_record_and_the_trial_did_not_fail(target, error, monkeypatch):
    """A full disk stops the command; it is no fault of the trial."""
    real = os.write

    def full(descriptor, data):
        real(descriptor, bytes(data)[:100])
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patch, pytest.raises(Stopped, match="the weights of trial") as caught:
        patch.setattr(files.os, "write", full)
        execute(TRIAL, target)
    assert os.strerror(error) in str(caught.value) and "run the same command again" in str(caught.value)
    assert os.listdir(target.store().folder) == []
    assert execute(TRIAL, target).status == "ok"


def test_small_trials_stay_small():
    """Beside its numbers a file holds names and shapes, about as much as a record."""
    module = untrained()
    parameters = sum(weight.numel() for weight in module.model.parameters())
    assert len(weights.packed(module.model)) < 4 * parameters + 4_096


def flipped(data: bytes) -> bytes:
    at = data.index(next(iter(untrained().model.parameters())).detach().numpy().tobytes())
    return data[: at + 1] + bytes([data[at + 1] ^ 1]) + data[at + 2 :]


HARMFUL = pickle.dumps(os.getcwd)
DAMAGE = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "altered": flipped,
    "foreign": lambda data: HARMFUL,
    "of another size": lambda data: weights.packed(untrained(hidden_size=9).model),
    "of another trial": lambda data: weights.packed(untrained(seed=1).model),
    "no tensors": lambda data: _saved([1, 2]),
    "other names": lambda data: _saved({"x": torch.zeros(2)}),
}


def _saved(value: object) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_and_foreign_weights_are_refused(kind):
    model = untrained().model
    data, sha256 = weights.packed(model), weights.digest(model)
    with pytest.raises(ValueError, match=r"cannot be read|was altered"):
        weights.restore(model, DAMAGE[kind](data), sha256)
    weights.restore(model, data, sha256)


def test_weights_that_would_run_something_are_refused_and_run_nothing(tmp_path):
    class Gadget:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    model, data = untrained().model, _saved({"head.weight": Gadget()})
    with pytest.raises(ValueError, match="cannot be read"):
        weights.restore(model, data, weights.digest(model))
    assert not (tmp_path / "ran").exists()
    torch.load(io.BytesIO(data), weights_only=False)
    assert (tmp_path / "ran").exists(), "it would have run"


def test_keeping_changes_nothing_in_the_record():
    kept: list[bytes] = []
    with_weights = engine.run_trial(TRIAL, keep=kept.append)
    assert repr(with_weights.without_times()) == repr(engine.run_trial(TRIAL).without_times()) and len(kept) == 1
