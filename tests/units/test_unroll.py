"""Windows of backpropagation through time, in a whole model, against loops written by hand."""

from __future__ import annotations

import itertools
from typing import ClassVar

import pytest
import torch
from by_hand import assert_close, built, by_lag, drawn, every_cell, every_kernel, gradients, noise, unrolled
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.batches import Batch
from harness.models.base import Windows
from harness.models.objectives import mse
from harness.models.sequence import SequenceModel
from harness.models.unroll import LAG_POINTS, leaf, pieces, plan, sizes, windows
from harness.tasks.base import Mapping, Shape, Task
from harness.trial import Trial

CELLS = {name: cell for name, cell in every_cell().items() if cell.states}
any_kernel = pytest.mark.parametrize(("name", "fused"), every_kernel(CELLS))
at_end_or_not = pytest.mark.parametrize("at_end", [True, False], ids=["at-end", "each-step"])
counts = st.integers(1, 200)
quick = settings(deadline=None, max_examples=100)


# the cuts


@given(steps=counts, length=st.one_of(st.none(), st.integers(1, 300)), at_end=st.booleans())
@quick
def test_windows_hold_every_step_once_and_none_is_too_long(steps: int, length: int | None, at_end: bool) -> None:
    cuts = windows(steps, length, at_end)
    assert [t for start, stop in cuts for t in range(start, stop)] == list(range(steps))
    lengths = [stop - start for start, stop in cuts]
    if length is None or length >= steps:
        assert cuts == [(0, steps)]
    else:
        whole, (short,) = (lengths[1:], lengths[:1]) if at_end else (lengths[:-1], lengths[-1:])
        assert set(whole) <= {length}
        assert 1 <= short <= length


@given(steps=counts, length=st.integers(1, 300), stride=st.integers(1, 300), at_end=st.booleans())
@quick
def test_plan_counts_every_step_once_and_reaches_back_as_far_as_asked(steps, length, stride, at_end) -> None:
    stride = min(stride, length)
    found = plan(steps, Windows(length, stride, watch=False), at_end)
    assert [t for _, fresh, stop in found for t in range(fresh, stop)] == list(range(steps))
    for begin, fresh, stop in found:
        assert 0 <= begin <= fresh < stop
        assert stop - fresh <= stride
        if stride < length:
            assert stop - begin == min(length, stop)
        else:
            assert begin == fresh  # plain windows share no step


@given(steps=counts, length=st.integers(1, 300), at_end=st.booleans())
@quick
def test_plan_without_a_stride_takes_the_windows_one_by_one(steps: int, length: int, at_end: bool) -> None:
    for _, fresh, stop in plan(steps, Windows(None, None, watch=False), at_end):
        assert (fresh, stop) == (0, steps)
    found = plan(steps, Windows(length, length, watch=False), at_end)
    assert [(fresh, stop) for _, fresh, stop in found] == windows(steps, length, at_end)
    assert found == plan(steps, Windows(length, None, watch=False), at_end)


@given(begin=st.integers(0, 50), steps=st.integers(1, 500))
@quick
def test_the_instrument_looks_at_a_few_steps_evenly_from_the_end(begin: int, steps: int) -> None:
    found = pieces(begin, begin + steps)
    assert found[0] == begin + steps
    assert begin < found[-1]
    assert 1 <= len(found) <= LAG_POINTS
    assert len({a - b for a, b in itertools.pairwise(found)}) <= 1


@given(begin=st.integers(0, 20), steps=st.integers(1, 40), edges=st.sets(st.integers(-5, 70), max_size=9))
@quick
def test_sizes_sum_to_the_steps_and_none_is_empty(begin: int, steps: int, edges: set[int]) -> None:
    found = sizes(begin, begin + steps, edges)
    assert sum(found) == steps
    assert min(found) >= 1
    assert {begin + s for s in itertools.accumulate(found)} == {begin + steps} | {
        e for e in edges if begin < e < begin + steps
    }


# the gradient


class Anything(Task):
    """Values at each step, or one for each sequence; the test brings its own data."""

    each_step: bool
    mapping: ClassVar[Mapping] = "many-to-one"  # read from the instance below
    objective: ClassVar = "mse"
    metric: ClassVar = "mse"

    @property
    def shape(self):
        return Shape(steps=7, features=2, outputs=2)

    def load(self, split, seed):
        raise NotImplementedError

    def floor(self):
        return 0.0


class AtEachStep(Anything):
    """The same with a target at each step."""

    mapping: ClassVar[Mapping] = "many-to-many"


def model_of(cell, fused: bool, at_end: bool, layers: int = 1, **changes) -> SequenceModel:
    trial = Trial(
        task={"name": "any"},
        cell={"name": "any"},
        hidden_size=3,
        layers=layers,
        examples=1,
        kernel="auto" if fused else "loop",
        precision="float64",
        **changes,
    )
    return drawn(SequenceModel(trial, (Anything if at_end else AtEachStep)(each_step=not at_end), cell))


def batch_of(at_end: bool, lengths: tuple[int, ...] = (7, 7, 7)) -> Batch:
    """Sequences with targets where they are due; NaN stands where none is."""
    n, steps = len(lengths), max(lengths)
    targets = noise(n, 2, seed=1) if at_end else noise(n, steps, 2, seed=1)
    if not at_end:
        targets = targets.where((torch.arange(steps) < torch.tensor(lengths)[:, None])[:, :, None], torch.nan)
    return Batch(noise(n, steps, 2), targets, torch.tensor(lengths))


def trained(model: SequenceModel, batch: Batch, length: int | None, stride: int | None = None, watch: bool = False):
    done = model.backward(batch, mse, Windows(length, stride, watch), lambda loss: loss.backward())
    return done, gradients(model)


def by_hand(model: SequenceModel, batch: Batch, reach: list[tuple[int, int, int]]):
    """Each sequence alone, each window from the first step on, the gradient cut once where the window begins."""
    due = (~batch.targets.isnan()).sum()
    total = 0.0
    for (begin, fresh, stop), (b, n) in itertools.product(reach, enumerate(batch.lengths.tolist())):
        out_BTH, _ = unrolled(model.stack, batch.inputs[b : b + 1, :n], {begin} if begin else ())
        if model.each_step:
            error = model.read_out(out_BTH[0, fresh:stop]) - batch.targets[b, fresh : min(stop, n)]
        else:
            error = model.read_out(out_BTH[0, -1:]) - batch.targets[b] if fresh < n <= stop else torch.zeros(0)
        if error.numel():
            loss = error.square().sum() / due
            loss.backward()
            total += loss.item()
    return total, gradients(model)


REACHES = {  # (length, stride, at the end): (begin, fresh, stop) of 7 steps, written out
    (1, None, False): [(t, t, t + 1) for t in range(7)],
    (3, None, True): [(0, 0, 1), (1, 1, 4), (4, 4, 7)],
    (3, None, False): [(0, 0, 3), (3, 3, 6), (6, 6, 7)],  # windows share no step, so the last is short
    (4, 2, True): [(0, 0, 1), (0, 1, 3), (1, 3, 5), (3, 5, 7)],
    (4, 2, False): [(0, 0, 2), (0, 2, 4), (2, 4, 6), (3, 6, 7)],
    (50, None, False): [(0, 0, 7)],
}


@any_kernel
@pytest.mark.parametrize("reach", REACHES, ids=str)
def test_windows_give_the_gradient_of_a_loop_by_hand(name, fused, reach) -> None:
    length, stride, at_end = reach
    model, batch = model_of(CELLS[name], fused, at_end), batch_of(at_end, (7, 2))
    loss, by_loop = by_hand(model, batch, REACHES[reach])
    done, found = trained(model, batch, length, stride)
    assert_close((torch.tensor(done.loss), found), (torch.tensor(loss), by_loop))


@pytest.mark.parametrize("layers", [2, 3])
@pytest.mark.parametrize("reach", [(3, None, True), (4, 2, False)], ids=str)
def test_windows_of_deeper_networks_do_too(layers, reach) -> None:
    for name, fused in every_kernel({name: CELLS[name] for name in ("lstm", "mingru")}):
        model, batch = model_of(CELLS[name], fused, reach[2], layers), batch_of(reach[2], (7, 2, 4))
        loss, by_loop = by_hand(model, batch, REACHES[reach])
        done, found = trained(model, batch, *reach[:2])
        assert_close((torch.tensor(done.loss), found), (torch.tensor(loss), by_loop))


@any_kernel
@at_end_or_not
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
def test_a_window_of_the_whole_sequence_is_full_bptt_bit_for_bit(name, fused, at_end, bidirectional) -> None:
    model = model_of(CELLS[name], fused, at_end, layers=2, bidirectional=bidirectional)
    batch = batch_of(at_end, (7, 3, 5))
    whole, expected = trained(model, batch, None)
    for length, stride in [(7, None), (8, None), (10**12, None), (7, 7)]:
        done, found = trained(model, batch, length, stride)
        assert done.loss == whole.loss
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@any_kernel
@at_end_or_not
@pytest.mark.parametrize(("length", "stride"), [(None, None), (3, None), (4, 2)])
def test_watching_changes_no_gradient_and_measures_the_last_full_window(name, fused, at_end, length, stride) -> None:
    model, batch = model_of(CELLS[name], fused, at_end, layers=2), batch_of(at_end)
    plain, expected = trained(model, batch, length, stride)
    done, found = trained(model, batch, length, stride, watch=True)
    assert plain.gradient is None
    assert_close((torch.tensor(done.loss), found), (torch.tensor(plain.loss), expected))
    assert done.gradient is not None
    lags, norms = done.gradient
    assert lags == list(range((length or 7) + 1))
    assert norms.dtype == torch.float64
    end = 6 if (length, at_end) == (3, False) else 7
    begin = end - (length or 7)
    start = (
        model.stack(batch.inputs[:, :begin], model.stack.zero_state(3), batch.lengths, [begin])[1] if begin else None
    )
    start = leaf(start or model.stack.zero_state(3))
    out_BTH, states = unrolled(model.stack, batch.inputs[:, begin:end], start=start)
    goal = batch.targets if at_end else batch.targets[:, end - 1]
    (mse(model.read_out(out_BTH[:, -1]), goal) / 3).backward()
    for layer, seen in enumerate(states):
        for lag, norm in zip(lags, norms[layer], strict=True):
            parts = [s.grad.square().sum() for s in seen[len(seen) - 1 - lag] if s.grad is not None]
            assert_close(norm, torch.stack(parts).sum().sqrt())


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("lengths", [(1,), (1, 1, 1), (5,)], ids=str)
@pytest.mark.parametrize("length", [1, 2, 9])
def test_one_step_and_one_sequence_are_sizes_like_any_other(at_end, lengths, length) -> None:
    reach = plan(max(lengths), Windows(length, None, watch=True), at_end)
    for name, fused in every_kernel(CELLS):
        model, batch = model_of(CELLS[name], fused, at_end), batch_of(at_end, lengths)
        loss, expected = by_hand(model, batch, reach)
        done, found = trained(model, batch, length, watch=True)
        assert_close((torch.tensor(done.loss), found), (torch.tensor(loss), expected))


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "loop"])
def test_of_two_directions_the_forward_one_is_measured(fused: bool) -> None:
    stack = built(CELLS["lstm"], fused, layers=3, bidirectional=True)
    start = leaf(stack.zero_state(2))
    out_BTH, _, marks = stack(noise(2, 5, 2), start, torch.full((2,), 5), [3, 2])
    loss = out_BTH[:, -1].square().sum()
    lags, norms = by_lag(loss, start, marks, 5, directions=2)
    assert lags == [0, 2, 5]
    for layer, norm in enumerate(norms[:, -1]):
        grads = torch.autograd.grad(loss, start[2 * layer], retain_graph=True)
        assert_close(norm, torch.stack([grad.square().sum() for grad in grads]).sum().sqrt())


def test_a_gradient_that_never_arrived_is_zero_and_none_is_lost_below_float32() -> None:
    x = torch.ones(1, 1, dtype=torch.float64)
    start = leaf([(x, x)])
    lags, norms = by_lag((1e-60 * start[0][0]).sum(), start, [[]], steps=4)
    assert lags == [4]
    assert norms.tolist() == [[1e-60]]
    assert by_lag((0 * x).sum() + 0 * start[0][1].sum(), leaf([(x,)]), [[]], 4)[1].tolist() == [[0.0]]
