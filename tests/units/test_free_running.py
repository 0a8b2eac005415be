"""What an encoder-decoder answers by itself, what it refuses, and where it says that a failure began."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from by_hand import assert_close, drawn, every_kernel
from hypothesis import given, settings
from hypothesis import strategies as st
from written_by_hand import (
    CELLS,
    RAGGED,
    SYMBOLS,
    TASKS,
    batch_of,
    built,
    greedy_by_hand,
    one_sequence,
    trial,
)

from harness.data.batches import Batch
from harness.errors import UserError
from harness.models.base import Windows
from harness.models.build import build_model
from harness.models.decoding import NOTHING
from harness.models.diagnose import first_non_finite, owner
from harness.models.kernel import kernel_of
from harness.models.objectives import cross_entropy
from harness.trial import Trial

any_kernel = pytest.mark.parametrize(("name", "fused"), every_kernel(CELLS))
with_and_without = pytest.mark.parametrize("attention", ["none", "dot"])


@any_kernel
@with_and_without
def test_a_free_answer_is_the_likeliest_symbol_after_what_was_written(name: str, fused: bool, attention: str) -> None:
    model = built(name, fused, attention=attention, bidirectional=attention == "dot")
    batch = batch_of(*RAGGED["reversal"])
    written, targets = model.answer(batch)
    assert targets is batch.targets
    assert model.limit == 2 * TASKS["reversal"].shape.target_steps
    for row, inputs, length in zip(written, batch.inputs, batch.lengths, strict=True):
        expected = greedy_by_hand(model, inputs[:length], model.limit)
        assert row[: len(expected)].tolist() == expected
        assert set(row[len(expected) :].tolist()) <= {NOTHING}


@with_and_without
def test_a_beam_that_keeps_everything_finds_the_best_of_all_answers(attention: str) -> None:
    model = built("lstm", attention=attention, layers=2, bidirectional=True)
    model.limit, model.beam_width = 3, SYMBOLS**3
    batch = batch_of(*RAGGED["reversal"])
    every = [list(s) for n in (1, 2, 3) for s in itertools.product(range(SYMBOLS), repeat=n) if 0 not in s[:-1]]
    every = [s for s in every if s[-1] == 0 or len(s) == 3]
    for row, inputs, length in zip(model.answer(batch)[0], batch.inputs, batch.lengths, strict=True):
        worth = []
        for s in every:
            with torch.no_grad():
                answers = one_sequence(model, inputs[:length], [model.start_symbol, *s[:-1]]).answers.log_softmax(1)
            worth.append(float(sum(answer[symbol] for answer, symbol in zip(answers, s, strict=True))) / len(s))
        best = every[worth.index(max(worth))]
        assert row[: len(best)].tolist() == best


@pytest.mark.parametrize("width", [1, 3])
@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_a_row_is_answered_as_it_would_be_alone(width: int, seed: int) -> None:
    model = drawn(built(attention="dot", bidirectional=True, beam_width=width), seed, scale=2)
    batch = batch_of(*RAGGED["reversal"], seed=seed)
    together = model.answer(batch)[0]
    for row, length in enumerate(batch.lengths.tolist()):
        one = slice(row, row + 1)
        alone = model.answer(Batch(batch.inputs[one, :length], batch.targets[one], batch.lengths[one]))[0][0]
        assert torch.equal(together[row, : len(alone)], alone)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("training", [True, False])
def test_a_free_answer_never_reads_the_targets(width: int, training: bool) -> None:
    model = built(beam_width=width, attention="dot").train(training)
    batch = batch_of(*RAGGED["reversal"])
    written = model.answer(batch)[0]
    for targets in (torch.full_like(batch.targets, -100), (batch.targets + 1) % SYMBOLS, batch.targets[:, :1]):
        assert torch.equal(model.answer(batch._replace(targets=targets))[0], written)


def test_the_last_symbol_of_a_target_is_never_fed() -> None:
    model, batch = built(), batch_of([3, 2], [3, 3])
    answers = one_sequence(model, batch.inputs[0], [model.start_symbol, *batch.targets[0, :-1].tolist()]).answers
    changed = batch._replace(targets=batch.targets.clone())
    changed.targets[:, -1] = 3
    seen: list[torch.Tensor] = []

    def look(answers_BUO: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        seen.append(answers_BUO.detach())
        return answers_BUO.sum()

    for each in (batch, changed):
        model.backward(each, look, Windows(None, None, False), lambda loss: None)
    assert torch.equal(*seen)
    assert_close(seen[0][0], answers.detach())


def test_a_single_input_cannot_be_read_backwards() -> None:
    with pytest.raises(UserError, match=r"bidirectional: the input of task 'countdown' is one step") as caught:
        trial("countdown", bidirectional=True).check()
    assert (caught.value.faults[0].allowed, caught.value.faults[0].remedy) == ("false", "bidirectional: false")
    trial("reversal", bidirectional=True).check()


def test_the_decoder_has_one_direction_whatever_the_encoder_has() -> None:
    model = built(bidirectional=True, layers=2)
    assert (model.encoder.directions, model.decoder.directions, len(model.bridges)) == (2, 1, 4)


def test_what_a_mapping_has_not_is_normalised_away() -> None:
    plain = Trial(task={"name": "adding"}, cell={"name": "gru"}, examples=1)
    assert plain.model_copy(update={"attention": "dot", "beam_width": 5}).normalised().id == plain.normalised().id
    kept = trial("reversal", attention="dot", beam_width=5, bptt_length=3, bptt_stride=2).normalised()
    assert (kept.attention, kept.beam_width, kept.bptt_length, kept.bptt_stride) == ("dot", 5, 3, None)
    assert trial("countdown", bptt_length=3).normalised().bptt_length == 3  # the source has one step, the answer four
    assert trial("countdown", bptt_length=4).normalised().bptt_length is None


def test_padding_and_both_sides_count_as_steps() -> None:
    batch = batch_of(*RAGGED["reversal"])
    assert built().steps(batch) == (4 + 1 + 5 + 4 + 5 + 2 + 1 + 3, 4 * (5 + 5))


BAD = {
    "embedding.weight": ("input", 0, "the input is not finite"),
    "encoder.layers.0.0.weight_hh": ("encoder.layers.0", 0, "a state is not finite"),
    "encoder.layers.1.0.weight_ih": ("encoder.layers.1", 0, "a state is not finite"),
    "encoder.layers.1.1.weight_ih": ("encoder.layers.1", 0, "an output is not finite"),
    "bridge.0.weight": ("bridge", None, "a start state of the decoder is not finite"),
    "target_embedding.weight": ("target_embedding", 0, "the input is not finite"),
    "decoder.layers.1.0.weight_hh": ("decoder.layers.1", 0, "a state is not finite"),
}


def again(model: Any, batch: Batch) -> Any:
    """How to go back through a batch once more."""
    return lambda back, told: model.backward(batch, cross_entropy, Windows(None, None, False, begins=told), back)


@pytest.mark.parametrize("name", BAD)
def test_the_first_bad_value_is_found_in_its_layer_and_at_its_step(name: str) -> None:
    model, batch = built(layers=2, bidirectional=True), batch_of(*RAGGED["reversal"])
    assert model.first_bad_state(batch) is None
    with torch.no_grad():
        model.get_parameter(name).fill_(float("nan"))
    assert first_non_finite(model, batch, again(model, batch)) == BAD[name]


def test_an_overflow_in_the_decoder_is_found_at_the_step_where_it_happens() -> None:
    model = built("elman-relu", False)
    with torch.no_grad():
        model.decoder.rows[0][0].weight_hh.fill_(1e120)
    batch = batch_of([3, 3], [5, 5])
    assert first_non_finite(model, batch, again(model, batch)) == ("decoder.layers.0", 2, "a state is not finite")


@pytest.mark.parametrize("side", ["encoder", "decoder"])
@with_and_without
@pytest.mark.parametrize("name", ["elman-tanh", "lstm"])
def test_a_gradient_that_overflows_is_found_on_its_side(name: str, attention: str, side: str) -> None:
    """No state moves; the gradient of one side is multiplied by 1e60 or more a step, from its last step back."""
    model, batch = built(name, layers=1, attention=attention), batch_of([9, 9], [9, 9])
    with torch.no_grad():
        for weight in [*model.encoder.parameters(), *model.decoder.parameters()]:
            weight.zero_()
        for where, ((layer, *_), *_) in (("encoder", model.encoder.rows), ("decoder", model.decoder.rows)):
            eye = torch.eye(3, dtype=torch.float64).repeat(layer.cell.gates, 1)
            layer.weight_hh.copy_(eye * (1e60 if where == side else 1.0))
    named, found, what = first_non_finite(model, batch, again(model, batch))
    assert (named, what) == (f"{side}.layers.0", "the gradient of its state is not finite")
    assert found is not None and 1 <= found <= 3


def test_weights_belong_to_layers_that_people_know() -> None:
    names = {owner(name) for name, _ in built(layers=2, bidirectional=True, attention="dot").named_parameters()}
    layers = {f"{side}.layers.{index}" for side in ("encoder", "decoder") for index in (0, 1)}
    assert names == {"embedding", "bridge", "target_embedding", "attention", "head", *layers}


@pytest.mark.parametrize(
    ("name", "fused", "expected"),
    [
        ("lstm", True, "oneDNN fused"),
        ("lstm", False, "Python loop"),
        ("gru", True, "ATen loop"),
        ("mingru", True, "parallel scan"),
        ("feedforward", False, "batched"),
    ],
)
@pytest.mark.parametrize("width", [1, 2])
def test_the_kernel_that_ran_is_seen(name: str, fused: bool, expected: str, width: int) -> None:
    model = built(name, fused, beam_width=width).float()
    assert kernel_of(model, [batch_of([3], [2])]) == expected


def test_start_weights_depend_on_the_seed_alone() -> None:
    build = [
        build_model(trial("reversal", seed=seed, attention="dot"), TASKS["reversal"], CELLS["lstm"])
        for seed in (1, 1, 2)
    ]
    once, again, other = ([p.detach() for p in model.parameters()] for model in build)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(once, other, strict=True) if bool((a != a.flatten()[0]).any()))
