"""The two looks at the end of a trial: exponents and truncation bias, in the record, the same every time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.data.batches import Batch
from harness.engine import run_trial
from harness.models.lyapunov import spectrum
from harness.models.truncation import lengths_to_try, truncation_bias
from harness.probes.lyapunov import Lyapunov
from harness.probes.truncation import Truncation
from harness.training.module import RecurrentModule
from harness.trial import Trial

REVERSAL = {"name": "reversal", "length": 24, "shortest": 18}


def run(cell: str = "lstm", task: dict | None = None, **settings):
    plain = {"hidden_size": 8, "examples": 64, "batch_size": 16, "evaluations": 1, **settings}
    record = run_trial(Trial(task=task or {"name": "adding", "length": 24}, cell={"name": cell}, **plain))
    assert record.status == "ok", record.traceback
    return record


def test_a_trial_answers_with_its_exponents_and_its_truncation_bias():
    record = run(bptt_length=5)
    assert len(record.lyapunov) == 8 and record.lyapunov == sorted(record.lyapunov, reverse=True)
    assert record.lyapunov_steps == 18  # the first quarter of 24 settles
    assert record.predicted_decay == pytest.approx(math.exp(record.lyapunov[0]), rel=1e-12)
    assert record.truncation_k == [1, 2, 4, 5, 8, 16] == lengths_to_try(24, 5)
    assert len(record.truncation_cosine) == len(record.truncation_norm_ratio) == 6
    assert record.truncation_cosine[0] < record.truncation_cosine[-1] <= 1


def test_the_same_trial_has_the_same_exponents_and_bias_bit_for_bit():
    first, second = run(layers=2, dropout=0.3), run(layers=2, dropout=0.3)
    assert first.without_times() == second.without_times()
    assert first.lyapunov and first.truncation_cosine


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_the_predicted_decay_is_near_the_measured_one(cell):
    """After 4 updates: 0.022 at most over seeds 0 to 5 of each cell. With training they part, for good reason: the
    gradient is measured along the way, the exponents at its end (20 updates at H=64: 0.118 at most of 36 trials)."""
    record = run(cell, {"name": "adding", "length": 64}, hidden_size=32)
    assert record.predicted_decay == pytest.approx(record.gradient_decay, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_the_predicted_decay_of_what_reads_is_near_the_measured_one(cell, bidirectional):
    """0.028 at most over seeds 0 to 5 of each cell, 0.047 with two directions: the gradient is watched in the forward
    one, and the largest exponent may be the backward one's."""
    record = run(cell, {"name": "reversal", "length": 64, "shortest": 64}, hidden_size=32, bidirectional=bidirectional)
    assert record.predicted_decay == pytest.approx(record.gradient_decay, abs=0.06)


@pytest.mark.parametrize(
    ("settings", "exponents", "lengths"),
    [
        ({"cell": "feedforward"}, 0, []),  # carries nothing
        ({"cell": "gru", "task": {"name": "digits", "steps": 1}}, 0, []),  # nothing to go back to
        ({"cell": "gru", "hidden_size": 3}, 3, [1, 2, 4, 8, 16]),
        ({"cell": "gru", "hidden_size": 3, "layers": 2, "bidirectional": True}, 8, [1, 2, 4, 8, 16]),  # of 12
        ({"cell": "lstm", "hidden_size": 3, "task": REVERSAL}, 6, [1, 2, 4, 8, 16]),
        ({"cell": "gru", "hidden_size": 3, "task": REVERSAL, "bidirectional": True}, 6, [1, 2, 4, 8, 16]),
        ({"cell": "gru", "hidden_size": 3, "task": REVERSAL, "attention": "dot"}, 3, [1, 2, 4, 8, 16]),
        ({"cell": "gru", "hidden_size": 3, "task": {"name": "countdown"}, "bptt_length": 7}, 3, [1, 2, 4, 7, 8]),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_every_model_has_exponents_and_windows_unless_it_has_nothing_to_go_back_to(settings, exponents, lengths):
    record = run(**settings)
    assert len(record.lyapunov) == exponents and bool(record.lyapunov_steps) == bool(exponents)
    assert math.isnan(record.predicted_decay) == (not exponents)
    assert record.truncation_k == lengths
    assert all(math.isfinite(number) for number in (*record.lyapunov, *record.truncation_cosine))


def test_a_trial_that_diverges_has_neither():
    settings = {"optimizer": "sgd", "learning_rate": 1e6, "examples": 640}
    plain = {"hidden_size": 8, "batch_size": 16, "evaluations": 1, **settings}
    record = run_trial(Trial(task={"name": "adding", "length": 24}, cell={"name": "elman"}, **plain))
    assert record.status == "diverged"
    assert record.lyapunov == [] == record.truncation_k and math.isnan(record.predicted_decay)


def module_and_batch():
    trial = Trial(task={"name": "adding", "length": 24}, cell={"name": "gru"}, hidden_size=6, examples=1)
    task = trial.build_task()
    batch = Batch.of(task.load("train", 0), np.arange(6))
    return trial, RecurrentModule(trial, task, trial.build_cell()), batch


def test_the_exponents_are_those_of_the_longest_sequences_and_of_real_steps_alone():
    trial, module, batch = module_and_batch()
    batch = batch._replace(lengths=torch.tensor([9, 24, 3, 16, 20, 24]))
    probe = Lyapunov(trial)
    for seen in (batch, batch._replace(inputs=batch.inputs[:2], lengths=batch.lengths[:2])):  # a budget ends in a rest
        probe.on_train_batch_end(None, module, None, seen, 0)
    probe.on_train_end(None, module)
    expected = spectrum(module.model.stack, batch.inputs[[1, 5, 4, 3], :16], 6, skip=4)
    assert probe.observed()["lyapunov"] == expected.exponents.tolist()
    assert probe.observed()["lyapunov_steps"] == 12


def test_the_bias_is_that_of_the_first_sequences():
    trial, module, batch = module_and_batch()
    probe = Truncation(trial)
    probe.on_train_batch_end(None, module, None, batch, 0)
    probe.on_train_end(None, module)
    assert probe.found == truncation_bias(module.model, batch, module.loss_of, [1, 2, 4, 8, 16])


def test_before_any_update_there_is_nothing_to_say():
    trial, module, _ = module_and_batch()
    for probe in (Lyapunov(trial), Truncation(trial)):
        probe.on_train_end(None, module)
        assert not any(value for value in probe.observed().values() if value == value)


def test_a_state_that_is_not_finite_leaves_the_fields_empty():
    trial, module, batch = module_and_batch()
    probe = Lyapunov(trial)
    probe.on_train_batch_end(None, module, None, batch._replace(inputs=batch.inputs * math.nan), 0)
    probe.on_train_end(None, module)
    assert probe.observed()["lyapunov"] == []
