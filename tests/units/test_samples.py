"""Samples: what a trained model answers to a few examples, the same on every run, without a trace in the trial."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from harness.engine import run_trial
from harness.tasks.base import Examples
from harness.training import samples
from harness.training.module import RecurrentModule
from harness.trial import Trial

TASKS: dict[str, dict[str, Any]] = {
    "many-to-one": {"name": "digits", "steps": 8},
    "values": {"name": "adding", "length": 8},
    "many-to-many": {"name": "copying"},
    "one-to-many": {"name": "countdown"},
    "encoder-decoder": {"name": "reversal"},
    "stream": {"name": "delayed-recall"},
    "continued": {"name": "autocomplete", "characters": 20_000},
}


def asked(kind: str, **more: Any) -> Trial:
    task = TASKS[kind]
    stream = kind in ("stream", "continued")
    budget: dict[str, Any] = {"tokens": 1_000, "bptt_length": 16} if stream else {"examples": 64}
    plain = {"cell": {"name": "lstm"}, "hidden_size": 8, "evaluations": 1, **budget, **more}
    return Trial(task=task, **plain).normalised()


def module_of(kind: str, **more: Any) -> tuple[RecurrentModule, Examples]:
    trial = asked(kind, **more)
    task = trial.build_task()
    return RecurrentModule(trial, task, trial.build_cell()), task.load("test", 0)


@pytest.mark.parametrize("kind", TASKS)
def test_every_kind_of_task_has_samples_in_its_record_and_they_repeat(kind):
    record = run_trial(asked(kind))
    assert record.status == "ok", record.traceback
    rows = json.loads(record.samples)
    assert 1 <= len(rows) <= 5 and all(set(row) == {"given", "wanted", "got"} for row in rows)
    assert all(row["given"] and row["wanted"] for row in rows)
    assert run_trial(asked(kind)).samples == record.samples


@pytest.mark.parametrize("kind", TASKS)
def test_they_leave_no_trace(kind):
    """Neither in torch's generator nor in the weights, the mode or the state that a stream carries."""
    module, examples = module_of(kind, input_dropout=0.5)
    module.train()
    state, before = torch.get_rng_state(), {k: v.clone() for k, v in module.model.state_dict().items()}
    samples.observed(module, examples)
    assert torch.equal(state, torch.get_rng_state()) and module.training and module.model.training
    assert all(torch.equal(v, before[k]) for k, v in module.model.state_dict().items())
    assert not getattr(module.model, "carried", {})


def test_the_samples_are_spread_over_the_split_and_say_what_is_due():
    module, examples = module_of("many-to-one")
    rows = json.loads(samples.observed(module, examples))
    index = np.linspace(0, len(examples) - 1, 5).astype(int)
    assert [row["wanted"] for row in rows] == [str(examples.targets[i]) for i in index]
    answers = samples.answers(module, examples, index)
    assert [row["got"] for row in rows] == [str(answer) for answer in answers]


def test_an_answer_holds_what_is_due_and_nothing_else():
    module, examples = module_of("many-to-many")
    first, second = samples.answers(module, examples, [0, 1])
    due = (np.asarray(examples.targets[0]) != -100).sum()
    assert len(first) == len(second) == due
    module, examples = module_of("one-to-many")
    assert all((answer > 0).all() for answer in samples.answers(module, examples, [0, 1, 2]))


def test_a_row_does_not_depend_on_the_rows_beside_it():
    for kind in ("many-to-one", "encoder-decoder", "stream"):
        module, examples = module_of(kind)
        alone, beside = samples.answers(module, examples, [1])[0], samples.answers(module, examples, [0, 1, 2])[1]
        assert np.array_equal(alone, beside)


def test_references_are_what_is_wanted_and_long_texts_are_cut():
    module, examples = module_of("encoder-decoder")
    told = Examples(
        examples.inputs, examples.targets, examples.lengths, references=[["x" * 9_999, "y"]] * len(examples)
    )
    rows = json.loads(samples.observed(module, told))
    assert all(row["wanted"].startswith("xxx") and len(row["wanted"]) == samples.MOST for row in rows)


def test_a_stream_goes_on_from_the_beginning_of_a_document():
    module, examples = module_of("continued")
    (row,) = json.loads(samples.observed(module, examples))
    task = module.task
    read = examples.inputs[0][: samples.PROMPT]
    assert row["given"] == task.told(read)
    assert row["wanted"] == task.said(examples.inputs[0][samples.PROMPT : samples.PROMPT + samples.WRITTEN])
    assert len(row["got"]) == samples.WRITTEN
    one, two = (samples.continued(module, read[None], 20, seed=seed) for seed in (0, 1))
    assert np.array_equal(one, samples.continued(module, read[None], 20)) and not np.array_equal(one, two)
