"""The first gradient that is not finite, where the forward pass is clean: found at the layer and step where by hand an
unrolled loop has it, with what overflows chosen by hand."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
import torch
from by_hand import drawn, every_cell, every_kernel, unrolled
from torch import Tensor
from trained import AtEnd, Stream, train, trial

from harness.data.batches import Batch
from harness.models.base import Windows
from harness.models.diagnose import first_non_finite
from harness.models.objectives import mse
from harness.models.sequence import SequenceModel
from harness.training.module import Failure, RecurrentModule

STEPS, GROWS = 9, 1e60


class Values(AtEnd):
    """Values at each step."""

    mapping: ClassVar = "many-to-many"


CELLS = {name: cell for name, cell in every_cell().items() if name in ("elman-tanh", "lstm", "gru")}
any_kernel = pytest.mark.parametrize(("name", "fused"), every_kernel(CELLS))


def still(model: SequenceModel, layer: int, grows: float = GROWS) -> None:
    """Zero all but the head, so that no state ever moves, and then let the gradient of one layer grow by about `grows`
    a step; the layers above pass it on at each step's input."""
    with torch.no_grad():
        for weight in model.stack.parameters():
            weight.zero_()
        model.head.weight.fill_(1.0)
        model.head.bias.zero_()
        for index, (direction, *_) in enumerate(model.stack.rows):
            size = direction.hidden
            eye = torch.eye(size, dtype=torch.float64).repeat(direction.cell.gates, 1)
            if index == layer:
                direction.weight_hh.copy_(grows * eye)
            if index > layer:
                direction.weight_ih.copy_(eye)


def built(name: str, fused: bool, layers: int) -> SequenceModel:
    asked = trial(layers=layers, kernel="auto" if fused else "loop", hidden_size=3)
    return drawn(SequenceModel(asked, AtEnd(), CELLS[name]))


def zeros(examples: int = 2, steps: int = STEPS) -> Batch:
    return Batch(
        torch.zeros(examples, steps, 3).double(), torch.ones(examples, 2).double(), torch.full((examples,), steps)
    )


def searched(model: SequenceModel, batch: Batch, length: int | None = None, stride: int | None = None) -> Any:
    def repeat(differentiate: Any, begins: Any) -> None:
        model.backward(batch, mse, Windows(length, stride, False, begins=begins), differentiate)

    return first_non_finite(model, batch, repeat)


def by_hand(model: SequenceModel, batch: Batch, layer: int) -> int:
    """The last step at which dL/dstate is not finite, of an unrolled loop."""
    out_BTH, states = unrolled(model.stack, batch.inputs)
    loss = mse(model.read_out(out_BTH[:, -1]), batch.targets) / batch.targets.numel()
    assert bool(loss.isfinite())
    loss.backward()
    bad = [step for step, state in enumerate(states[layer][1:]) if not all(map(finite, state))]
    model.zero_grad()
    return max(bad)


def finite(state: Tensor) -> bool:
    return state.grad is None or bool(state.grad.isfinite().all())


@any_kernel
@pytest.mark.parametrize(("layers", "layer"), [(1, 0), (2, 0), (2, 1), (3, 1)])
def test_a_gradient_that_overflows_is_found_where_an_unrolled_loop_has_it(name, fused, layers, layer) -> None:
    model = built(name, fused, layers)
    still(model, layer)
    step = by_hand(model, zeros(), layer)
    assert 1 <= step <= STEPS - 4
    kept = dict(model.named_parameters())
    assert searched(model, zeros()) == (f"layers.{layer}", step, "the gradient of its state is not finite")
    assert dict(model.named_parameters()).keys() == kept.keys() and not model.carried


def test_by_hand_it_is_the_step_that_arithmetic_says() -> None:
    model = built("elman-tanh", True, 1)
    still(model, 0)
    # about 1 at step 8, 1e60 at 7, ..., 1e300 at 3, beyond 1.8e308 at 2
    assert searched(model, zeros())[:2] == ("layers.0", 2)
    assert searched(model, zeros(steps=20))[:2] == ("layers.0", 13)


@any_kernel
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("at", [0, 4, STEPS - 1])
def test_a_weight_whose_gradient_overflows_is_found_at_the_step_that_does_it(name, fused, layers, at) -> None:
    """The input is 1e300 at one step and weighs nothing; what comes back there is finite, their product is not."""
    model, batch = built(name, fused, layers), zeros()
    still(model, 0, grows=2.0)
    with torch.no_grad():
        model.head.weight.fill_(1e12)
    batch.inputs[1, at] = 1e300
    assert searched(model, batch) == ("layers.0", at, "the gradient of weight_ih is not finite")


@pytest.mark.parametrize("fused", [True, False])
def test_a_sum_over_steps_that_overflows_is_found_where_it_does(fused: bool) -> None:
    """What comes back is -1 at each step: so many steps with an input of 5e307 add up to 1.5e308, one more does not."""
    model, batch = built("elman-tanh", fused, 1), zeros()
    still(model, 0, grows=1.0)
    batch.inputs[1] = 5e307
    assert searched(model, batch) == ("layers.0", STEPS - 4, "the gradient of weight_ih is not finite")


@pytest.mark.parametrize(("length", "stride"), [(None, None), (4, None), (6, 3), (9, 2)])
@pytest.mark.parametrize("name", CELLS)
def test_in_windows_the_step_is_counted_from_the_beginning_of_the_sequence(name, length, stride) -> None:
    asked = trial(hidden_size=3)
    model = drawn(SequenceModel(asked, Values(), CELLS[name]))
    still(model, 0, grows=1.0)
    with torch.no_grad():
        model.head.weight.fill_(1e12)
    batch = Batch(torch.zeros(2, STEPS, 3).double(), torch.ones(2, STEPS, 2).double(), torch.tensor([STEPS, STEPS]))
    batch.inputs[0, 5] = 1e300
    assert searched(model, batch, length, stride) == ("layers.0", 5, "the gradient of weight_ih is not finite")


@pytest.mark.parametrize("name", CELLS)
def test_finite_gradients_whose_squares_overflow_are_named_so(name: str) -> None:
    model, batch = built(name, True, 1), zeros()
    still(model, 0, grows=0.0)
    batch.inputs[0, STEPS - 1] = 1e200
    assert searched(model, batch) == ("layers.0", STEPS - 1, "the gradient of weight_ih has a norm that is not finite")


def test_a_direction_that_reads_from_the_end_counts_from_there() -> None:
    asked = trial(bidirectional=True, hidden_size=3)
    model, batch = drawn(SequenceModel(asked, AtEnd(), CELLS["lstm"])), zeros()
    for direction in model.stack.rows[0]:
        for weight in direction.parameters():
            torch.nn.init.zeros_(weight)
    with torch.no_grad():
        model.stack.rows[0][1].weight_hh.copy_(GROWS * torch.eye(3, dtype=torch.float64).repeat(4, 1))
        model.head.weight.fill_(1.0)
    layer, step, what = searched(model, batch)
    assert (layer, what) == (
        "layers.0", "the gradient of its state, counting steps from the end, as this direction reads, is not finite",
    )  # fmt: skip
    assert step is not None and 1 <= step <= STEPS - 4


def test_where_all_is_finite_nothing_is_found() -> None:
    for name, fused in every_kernel(CELLS):
        model = built(name, fused, 2)
        batch = zeros()
        assert searched(model, batch) == (
            "head",
            None,
            "the loss is not finite",
        )  # it is: nothing else is left to blame


# in training


def grown(made: RecurrentModule) -> None:
    still(made.model, made.trial.layers - 1)


@pytest.mark.parametrize("cell", ["elman", "lstm"])
@pytest.mark.parametrize("layers", [1, 2])
def test_training_ends_with_update_layer_and_step(cell: str, layers: int) -> None:
    done = train(
        trial(cell={"name": cell}, layers=layers, learning_rate=1e-9, hidden_size=3), AtEnd(), [zeros()], grown
    )
    failure = done.module.failure
    assert isinstance(failure, Failure) and (failure.update, failure.layer) == (1, f"layers.{layers - 1}")
    model = built(f"{cell}-tanh" if cell == "elman" else cell, True, layers)
    still(model, layers - 1)
    assert failure.step == by_hand(model, zeros(), layers - 1)
    assert failure.reason.startswith("the gradient of its state is not finite; loss 1, gradient norm ")
    assert all(torch.equal(a, b) for a, b in zip(done.weights[0], done.weights[-1], strict=True))


@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_of_a_stream_the_step_is_one_of_the_window_that_failed(cell: str) -> None:
    def prepared(made: RecurrentModule) -> None:
        still(made.model, 0)
        torch.nn.init.zeros_(made.model.encoder.weight)

    resets, symbols = torch.tensor([True, True]), torch.zeros(2, STEPS, dtype=torch.int64)
    targets = torch.full_like(symbols, -100)
    due = targets.clone()
    due[:, -1] = 1
    batches = [
        Batch(symbols, targets, torch.tensor([STEPS, STEPS]), resets),
        Batch(symbols, due, torch.tensor([STEPS, STEPS]), ~resets),
    ]
    done = train(trial(cell={"name": cell}, hidden_size=3, learning_rate=1e-9), Stream(), batches, prepared)
    failure = done.module.failure
    assert failure is not None and (failure.update, failure.layer) == (2, "layers.0")
    assert failure.step is not None and 1 <= failure.step <= STEPS - 4
    assert failure.reason.startswith("the gradient of its state is not finite; loss 1.6")
    assert not math.isfinite(done.updates[-1].clipped.before)
