"""The gradient by lag in batches of unlike sequences: each is counted back from its own last answer that is due."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from by_hand import assert_close, drawn, every_cell, every_kernel, noise, unrolled
from test_unroll import batch_of, model_of

from harness.data.batches import Batch
from harness.models.base import Profile, Windows
from harness.models.by_lag import Look
from harness.models.objectives import cross_entropy, mse
from harness.models.passes import by_window
from harness.models.sequence import SequenceModel
from harness.models.unroll import leaf
from harness.tasks.base import Shape, Task
from harness.trial import Trial

CELLS = {name: cell for name, cell in every_cell().items() if cell.states}
any_kernel = pytest.mark.parametrize(("name", "fused"), every_kernel(CELLS))
both_or_not = pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
RAGGED = (7, 2, 4, 7)


def watched(model: SequenceModel, batch: Batch, length: int | None = None, loss_of: Any = mse) -> Profile:
    done = model.backward(batch, loss_of, Windows(length, None, watch=True), lambda loss: loss.backward())
    assert done.gradient is not None
    return done.gradient


def together(alone: list[Profile]) -> Profile:
    """What a batch must show whose sequences show this each by itself: at each lag the mean over those that have it."""
    lags = max((lags for lags, _ in alone), key=len)
    columns = [[norms[:, lag].square() for _, norms in alone if lag < norms.shape[1]] for lag in lags]
    squares = [torch.stack(found).mean(0) * len(alone) for found in columns]
    return lags, torch.stack(squares, 1).sqrt() / len(alone)


def one_by_one(batch: Batch) -> list[Batch]:
    cut = batch.targets.ndim == 3 or batch.targets.dtype == torch.int64
    rows = [[part[i : i + 1] for part in batch[:3]] for i in range(len(batch.lengths))]
    return [Batch(x[:, : int(n)], y[:, : int(n)] if cut else y, n) for x, y, n in rows]


@any_kernel
@both_or_not
@pytest.mark.parametrize("at_end", [True, False], ids=["at-end", "each-step"])
def test_a_batch_shows_what_each_sequence_shows_alone(name, fused, bidirectional, at_end) -> None:
    model, batch = model_of(CELLS[name], fused, at_end, 2, bidirectional=bidirectional), batch_of(at_end, RAGGED)
    lags, norms = watched(model, batch)
    expected = together([watched(model, one) for one in one_by_one(batch)])
    assert lags == expected[0] == list(range(8))
    assert_close(norms, expected[1])


@any_kernel
@pytest.mark.parametrize("length", [None, 3], ids=["whole", "cut"])
@pytest.mark.parametrize("lengths", [(7, 7, 7), RAGGED], ids=["alike", "ragged"])
def test_one_pass_back_shows_to_the_bit_what_a_pass_of_its_own_does(name, fused, length, lengths) -> None:
    """Where one answer is due of each sequence, what goes back anyway is what is watched."""
    classes = torch.arange(len(lengths)) % 2
    model, batch = model_of(CELLS[name], fused, True, 2), batch_of(True, lengths)._replace(targets=classes)
    windows, seen = Windows(length, None, watch=True), []
    for loss, told in by_window(model, batch, cross_entropy, windows):  # nobody says what the mean is over
        (loss / len(lengths)).backward()
        seen += [told()] if told else []
    lags, norms = watched(model, batch, length, cross_entropy)
    assert lags == seen[0][0] and torch.equal(norms, seen[0][1]) and bool((norms > 0).any())


class OverSteps(Task):
    """Classes whose loss is over all steps together; the test brings its own data."""

    mapping: ClassVar = "many-to-many"
    objective: ClassVar = "crf"
    metric: ClassVar = "accuracy"

    @property
    def shape(self):
        return Shape(steps=7, features=2, outputs=4)

    def load(self, split, seed):
        raise NotImplementedError

    def floor(self):
        return 0.0


class Unaligned(OverSteps):
    """The same without an alignment."""

    mapping: ClassVar = "many-to-one"
    objective: ClassVar = "ctc"


@pytest.mark.parametrize("kind", [OverSteps, Unaligned], ids=["crf", "ctc"])
@both_or_not
def test_so_it_does_where_the_loss_is_over_all_steps(kind: Any, bidirectional: bool) -> None:
    asked = Trial(task={"name": "any"}, cell={"name": "any"}, hidden_size=3, examples=1, precision="float64")
    model = drawn(SequenceModel(asked.model_copy(update={"bidirectional": bidirectional}), kind(), CELLS["gru"]))
    steps, lengths = torch.arange(7), torch.tensor(RAGGED)
    targets = 1 + (torch.arange(4)[:, None] + steps) % 3
    due = lengths[:, None] if kind is OverSteps else 2
    batch = Batch(noise(4, 7, 2), targets.masked_fill(steps >= due, -100), lengths)
    lags, norms = watched(model, batch, loss_of=cross_entropy)
    expected = together([watched(model, one, loss_of=cross_entropy) for one in one_by_one(batch)])
    assert lags == expected[0]
    assert_close(norms, expected[1])


@pytest.mark.parametrize(
    ("at_end", "window", "ends"),
    [
        (True, (4, 4, 7), {0: 7}),  # only the first ends in the last window
        (False, (3, 3, 6), {0: 5, 2: 4}),  # the last that is not short; of the first nothing is due from step 5 on
    ],
    ids=["at-end", "each-step"],
)
@pytest.mark.parametrize(("name", "fused"), every_kernel({name: CELLS[name] for name in ("lstm", "mingru")}))
def test_in_a_window_those_count_of_which_an_answer_is_due_in_it(name, fused, at_end, window, ends) -> None:
    model, batch = model_of(CELLS[name], fused, at_end, layers=2), batch_of(at_end, (7, 2, 4))
    if not at_end:
        batch.targets[0, 5:] = torch.nan
    lags, norms = watched(model, batch, length=3)
    begin, squares = window[0], torch.zeros(2, len(lags), len(ends), dtype=torch.float64).fill_(torch.nan)
    for place, (row, end) in enumerate(ends.items()):
        x_1TD, zeros = batch.inputs[row : row + 1], model.stack.zero_state(1)
        start = leaf(model.stack(x_1TD[:, :begin], zeros, torch.tensor([begin]), [begin])[1])
        out_BTH, states = unrolled(model.stack, x_1TD[:, begin:end], start=start)
        goal = batch.targets[row : row + 1] if at_end else batch.targets[row : row + 1, end - 1]
        (mse(model.read_out(out_BTH[:, -1]), goal) / len(ends)).backward()
        for layer, seen in enumerate(states):
            for lag in range(end - begin + 1):
                parts = [s.grad.square().sum() for s in seen[end - begin - lag] if s.grad is not None]
                squares[layer, lag, place] = torch.stack(parts).sum()
    assert lags == list(range(max(ends.values()) - begin + 1))
    assert_close(norms, (squares.nanmean(2) * 3).sqrt())


@any_kernel
def test_a_cut_inside_ends_what_is_seen_and_changes_nothing_before(name, fused) -> None:
    for at_end, reach in ((True, 3), (False, 1)):  # windows of 1, 3, 3 steps, and of 3, 3, 1
        model, batch = model_of(CELLS[name], fused, at_end, bidirectional=True), batch_of(at_end)
        whole, (lags, norms) = watched(model, batch)[1], watched(model, batch, length=3)
        assert lags == list(range(reach + 1))
        assert_close(norms, whole[:, : reach + 1])


def test_where_nothing_is_due_nothing_is_seen_and_an_answer_in_the_middle_is_found() -> None:
    model, batch = model_of(CELLS["gru"], True, at_end=False), batch_of(False)
    batch.targets[:, 3:] = torch.nan
    for length, reach in ((None, 3), (2, 1), (3, 3)):  # windows of 2 steps: the last with an answer is [2, 4)
        lags, norms = watched(model, batch, length)
        assert lags == list(range(reach + 1)) and bool((norms > 0).all())
    batch.targets[:] = torch.nan
    done = model.backward(batch, mse, Windows(None, None, watch=True), lambda loss: loss.backward())
    assert done.gradient is None and done.loss == 0


def test_reach_ends_at_the_cut_before_the_end() -> None:
    ends_B = torch.tensor([7, 6, 4, 3, 1, 0])
    look = Look.back_to([3, 6], ends_B, Batch(ends_B, ends_B, ends_B))
    assert look.reach_B.tolist() == [1, 3, 1, 3, 1, -1]
    assert look.lags == [0, 1, 2, 3]
