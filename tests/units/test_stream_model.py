"""Streams in a model: the state carried is that of one long unroll, the gradient of a window that of a loop by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from by_hand import assert_close, every_cell, gradients, unrolled
from torch.nn import functional as F
from trained import Stream, module, text, train, trial

from harness.data.batches import Batch
from harness.data.streams import EvalStreams, StreamBatches
from harness.errors import UserError
from harness.models.base import Windows
from harness.models.objectives import cross_entropy
from harness.models.scoring import score
from harness.models.sequence import SequenceModel
from harness.tasks.base import Examples
from harness.training.module import RecurrentModule
from harness.trial import Trial

CELLS = every_cell()
any_cell = pytest.mark.parametrize("cell", CELLS)


def model_of(cell: str, layers: int = 1, **more: Any) -> SequenceModel:
    found = module(trial(cell=CELLS[cell].plain(), layers=layers, **more), Stream()).model
    assert isinstance(found, SequenceModel)
    return found


def train_window(model: SequenceModel, batch: Batch, watch: bool = False) -> float:
    done = model.backward(batch, cross_entropy, Windows(None, None, watch), lambda loss: loss.backward())
    return done.loss


def long_unroll(model: SequenceModel, tokens: np.ndarray) -> tuple[torch.Tensor, list[list[Any]]]:
    return unrolled(model.stack, model.encode(torch.from_numpy(tokens)))


@any_cell
@pytest.mark.parametrize(("length", "stride"), [(4, 4), (6, 4), (9, 2)])
def test_the_state_carried_over_windows_is_that_of_one_long_unroll(cell: str, length: int, stride: int) -> None:
    model, examples = model_of(cell, layers=2), text(33)
    loader, step = StreamBatches(examples, 3, length, stride, 0, 33), 0
    _, states = long_unroll(model, examples.inputs.reshape(3, 11))
    for batch in loader:
        train_window(model, batch)
        step += batch.inputs.shape[1] if batch.advance is None else batch.advance
        if model.remembers:
            assert_close(model.carried[True], [layer[step] for layer in states])
        else:
            assert not model.carried
    assert step == 11


@any_cell
@pytest.mark.parametrize(("length", "stride"), [(5, 5), (7, 3)])
def test_the_gradient_of_each_window_is_that_of_a_loop_by_hand(cell: str, length: int, stride: int) -> None:
    model, examples = model_of(cell, layers=2), text(22)
    tokens, targets = (a.reshape(2, 11) for a in (examples.inputs, examples.targets))
    _, states = long_unroll(model, tokens)
    for number, batch in enumerate(StreamBatches(examples, 2, length, stride, 0, 22)):
        loss = train_window(model, batch, watch=number % 2 == 0)
        found = gradients(model)
        fresh = number * stride
        first, stop = max(0, fresh - length + stride), min(fresh + stride, 11)
        start = [tuple(s.detach() for s in layer[first]) for layer in states]
        out_BTH, _ = unrolled(model.stack, model.encode(torch.from_numpy(tokens[:, first:stop])), start=start)
        answers = model.read_out(out_BTH[:, fresh - first :])
        expected = F.cross_entropy(answers.flatten(0, 1), torch.from_numpy(targets[:, fresh:stop]).flatten())
        expected.backward()
        assert loss == pytest.approx(float(expected.detach()), rel=1e-12)
        assert_close(found, gradients(model))


@any_cell
def test_a_stream_after_a_reset_is_one_that_starts(cell: str) -> None:
    model, fresh, examples = model_of(cell), model_of(cell), text(8, 4)
    batch = Batch(*(torch.from_numpy(a) for a in (examples.inputs, examples.targets, examples.lengths)))
    batch = batch._replace(lengths=torch.tensor([8, 8]), targets=batch.inputs)
    train_window(model, batch._replace(resets=torch.tensor([True, True])))
    if model.remembers:
        model.carried[True] = [tuple(s.clone() for s in state) for state in model.carried[True]]
        model.carried[True][0][0][1] = math.nan  # what ended badly does not leak into the next document
    model.zero_grad()
    alone = batch._replace(resets=torch.tensor([False, True]), targets=batch.targets.clone())
    alone.targets[0] = -100
    new = batch._replace(resets=torch.tensor([True, True]), targets=alone.targets)
    assert train_window(model, alone) == train_window(fresh, new)
    assert all(torch.equal(a, b) for a, b in zip(gradients(model), gradients(fresh), strict=True))
    if model.remembers:
        assert torch.equal(model.carried[True][0][0][1], fresh.carried[True][0][0][1])
        assert not torch.equal(model.carried[True][0][0][0], fresh.carried[True][0][0][0])


def nats(model: SequenceModel, examples: Examples, streams: int, length: int) -> torch.Tensor:
    """-log p of each token of one document, in its order."""
    model.eval()
    rows: list[list[torch.Tensor]] = []
    for batch in EvalStreams(examples, streams, length):
        with torch.no_grad():
            answers, targets = model.answer(batch)
        each_BT = F.cross_entropy(answers.mT, targets, reduction="none", ignore_index=-100)
        rows += [[] for _ in range(len(each_BT) - len(rows))]
        for row, value_T, target_T in zip(rows, each_BT, targets, strict=True):
            row.append(value_T[target_T != -100])
    model.train()
    return torch.cat([value for row in rows for value in row])


@pytest.mark.parametrize("streams", [1, 3, 40])
@pytest.mark.parametrize("length", [1, 7, 100])
def test_a_score_depends_on_the_streams_by_their_cold_starts_alone(streams: int, length: int) -> None:
    model, examples = model_of("gru"), text(40)
    found = nats(model, examples, streams, length)
    piece = math.ceil(40 / streams)
    expected = [nats(model, Examples(*(a[:, i : i + piece] for a in (examples.inputs, examples.targets)),
                                     np.array([min(piece, 40 - i)])), 1, 40) for i in range(0, 40, piece)]  # fmt: skip
    assert_close(found, torch.cat(expected))
    assert len(found) == 40


def test_a_score_of_many_documents_does_not_depend_on_the_streams() -> None:
    model, examples = model_of("lstm"), text(17, 3, 9, 12)
    model.eval()
    found = []
    for streams, length in itertools.product([1, 2, 9], [2, 5, 50]):
        metric = score("bits_per_character", Stream())
        with torch.no_grad():
            for batch in EvalStreams(examples, streams, length):
                metric.update(*model.answer(batch))
        found.append(float(metric.compute()))
    assert found == pytest.approx([found[0]] * len(found), rel=1e-12)


def test_evaluation_in_between_leaves_training_as_it_was() -> None:
    plain_, disturbed, examples = model_of("lstm"), model_of("lstm"), text(30)
    for batch in StreamBatches(examples, 2, 5, 5, 0, 30):
        train_window(plain_, batch)
        nats(disturbed, text(11), 3, 4)
        train_window(disturbed, batch)
        assert all(torch.equal(a, b) for a, b in zip(gradients(plain_), gradients(disturbed), strict=True))


def test_bits_per_character_is_the_mean_of_minus_log2_p() -> None:
    metric, generator = score("bits_per_character", Stream()), torch.Generator().manual_seed(0)
    total, count = 0.0, 0
    for rows in (3, 1):
        answers = torch.randn(rows, 7, 5, generator=generator)
        targets = torch.randint(5, (rows, 7), generator=generator)
        targets[0, 2:4] = -100
        metric.update(answers, targets)
        for answer, target in zip(answers.reshape(-1, 5).double(), targets.flatten().tolist(), strict=True):
            if target != -100:
                p = answer.exp()[target] / answer.exp().sum()
                total, count = total - math.log2(float(p)), count + 1
    assert float(metric.compute()) == pytest.approx(total / count, rel=1e-12)
    uniform = score("bits_per_character", Stream())
    uniform.update(torch.zeros(1, 4, 8), torch.tensor([[0, 3, 7, -100]]))
    assert float(uniform.compute()) == pytest.approx(3.0, rel=1e-15)


def test_each_window_is_one_update_of_what_is_due_in_it() -> None:
    batches = list(StreamBatches(text(60), 3, 6, 4, 0, 50))
    done = train(trial(), Stream(), batches)
    assert [update.tokens for update in done.updates] == [12, 12, 12, 12, 2]
    assert [update.padded_tokens for update in done.updates] == [12, 18, 18, 18, 9]
    assert done.observed["tokens"] == 50 and done.observed["updates"] == 5
    assert max(done.observed["gradient_lags"]) == 6


def adding(made: RecurrentModule) -> None:
    """Give a relu network weights with which each token 4 adds 1e308 to its state: the second one is too much."""
    with torch.no_grad():
        for name, weight in made.model.named_parameters():
            weight.zero_()
            if name == "encoder.weight":
                weight[4, 0] = 1.0
            if "weight_ih" in name:
                weight[0, 0] = 1e308
            if "weight_hh" in name:
                weight.copy_(torch.eye(4, dtype=weight.dtype))


class Asked(Trial):
    """A trial on a stream whose answers are no later inputs."""

    def build_task(self):
        return Stream()


def test_a_stream_is_asked_for_what_it_needs_all_at_once() -> None:
    plain = trial(bidirectional=True).model_dump()
    with pytest.raises(UserError) as caught:
        Asked(**plain).check()
    faults = {fault.what.partition(":")[0]: fault for fault in caught.value.faults}
    assert set(faults) == {"bidirectional", "bptt_length", "examples"}
    assert faults["bidirectional"].what.endswith("is a stream, which has no end to read back from")
    Asked(**plain | {"bidirectional": False, "bptt_length": 8, "examples": None, "tokens": 9}).check()
    with pytest.raises(UserError, match="a backward direction would see what task 'autocomplete' asks to predict"):
        trial(task={"name": "autocomplete"}, bidirectional=True).check()


def test_of_a_stream_without_memory_only_the_fresh_steps_are_a_setting() -> None:
    asked = {"task": {"name": "autocomplete"}, "examples": None, "tokens": 9, "bptt_length": 16}
    same = [trial(cell={"name": "feedforward"}, **asked, bptt_stride=4), trial(cell={"name": "feedforward"}, **asked)]
    assert [(t.normalised().bptt_length, t.normalised().bptt_stride) for t in same] == [(4, None), (16, None)]
    kept = trial(cell={"name": "gru"}, **asked, bptt_stride=4).normalised()
    assert (kept.bptt_length, kept.bptt_stride) == (16, 4)
    assert trial(**asked, bptt_stride=16).normalised() == trial(**asked).normalised()


def test_a_failure_is_found_from_the_state_that_was_carried_there() -> None:
    windows = []
    for number, tokens in enumerate([[0, 4, 0, 0], [0, 0, 4, 0]]):
        targets = torch.full((1, 4), -100)
        targets[0, 0] = 1 if not number else -100  # before the state is so large that a gradient would overflow
        fields = torch.tensor([tokens]), targets, torch.tensor([4])
        windows.append(Batch(*fields, resets=torch.tensor([not number])))
    failure = train(trial(cell={"name": "elman", "activation": "relu"}), Stream(), windows, adding).module.failure
    assert failure is not None and (failure.update, failure.layer, failure.step) == (2, "layers.0", 2)
