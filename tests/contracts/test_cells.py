"""Laws of every cell. A new file in harness/cells is held to all of them with no edit here."""

from __future__ import annotations

import ast
import inspect
import math
from types import SimpleNamespace

import pytest
import torch
from by_hand import (
    assert_close,
    built,
    by_lag,
    drawn,
    every_cell,
    every_kernel,
    gradients,
    in_windows,
    noise,
    unrolled,
    weights,
)
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call

from harness.cells.base import Cell
from harness.data.batches import Batch
from harness.errors import UserError
from harness.models.kernel import kernel_of
from harness.models.layer import Layer, shapes
from harness.models.sequence import SequenceModel
from harness.models.stack import Stack
from harness.models.unroll import leaf
from harness.tasks.adding import Adding
from harness.trial import Trial

CELLS = every_cell()
KERNELS = every_kernel(CELLS)
QUICK = [name for name, fused in KERNELS if fused]
TORCH = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "rnn_tanh": nn.RNN,
    "rnn_relu": lambda *sizes, **rest: nn.RNN(*sizes, nonlinearity="relu", **rest),
}
ORDER = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

any_cell = pytest.mark.parametrize("name", CELLS)
any_kernel = pytest.mark.parametrize(("name", "fused"), KERNELS)
any_depth = pytest.mark.parametrize("layers", [1, 2])
any_direction = pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])


# the declaration


@any_cell
def test_file_imports_no_torch(name: str) -> None:
    tree = ast.parse(inspect.getsource(inspect.getmodule(type(CELLS[name]))))
    imported = [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    imported += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [module for module in imported if module.split(".")[0] in {"torch", "numpy", "pytorch_lightning"}]


@any_cell
def test_a_loop_can_always_unroll_it(name: str) -> None:
    kernels = CELLS[name].kernels
    assert kernels[-1] == "loop"
    assert len(set(kernels)) == len(kernels)
    assert ("fused" in kernels) == (CELLS[name].fused is not None)


@any_cell
def test_weights_are_those_declared(name: str) -> None:
    declared = shapes(CELLS[name], 2, 3)
    held = {key: tuple(weight.shape) for key, weight in Layer(CELLS[name], 2, 3, fused=False).named_parameters()}
    assert held == declared
    assert declared["weight_ih"] == (3 * CELLS[name].gates, 2)


@any_cell
@pytest.mark.parametrize(("batch", "hidden"), [(2, 3), (1, 1)])
def test_step_carries_the_declared_states_and_the_first_is_the_output(name: str, batch: int, hidden: int) -> None:
    layer = drawn(Layer(CELLS[name], 2, hidden, fused=False))
    before = tuple(noise(batch, hidden, seed=seed) for seed, _ in enumerate(layer.cell.states))
    h_BH, after = layer.cell.step(weights(layer), noise(batch, layer.cell.gates * hidden), before)
    assert isinstance(after, tuple)
    assert [tuple(s.shape) for s in after] == [(batch, hidden)] * len(layer.cell.states)
    assert tuple(h_BH.shape) == (batch, hidden)
    assert all(bool(s.isfinite().all()) for s in (h_BH, *after))
    if after:
        assert torch.equal(h_BH, after[0])


@any_cell
def test_step_leaves_its_arguments_as_they_were(name: str) -> None:
    layer = drawn(Layer(CELLS[name], 2, 3, fused=False))
    given = [noise(2, 3, seed=seed) for seed, _ in enumerate(layer.cell.states)] + [noise(2, 3 * layer.cell.gates)]
    kept = [tensor.clone() for tensor in given]
    with torch.no_grad():
        layer.cell.step(weights(layer), given[-1], tuple(given[:-1]))
    assert all(torch.equal(a, b) for a, b in zip(given, kept, strict=True))


@any_cell
def test_stacked_trials_give_what_each_gives_alone(name: str) -> None:
    cell = CELLS[name]
    trials = [drawn(Layer(cell, 2, 3, fused=False), seed) for seed in range(4)]
    wx_KBG = noise(4, 2, 3 * cell.gates)
    state = tuple(noise(4, 2, 3, seed=seed) for seed, _ in enumerate(cell.states))
    rows = {key: torch.stack([getattr(layer, key) for layer in trials]) for key in shapes(cell, 2, 3)}
    stacked = SimpleNamespace(**{key: row if row.ndim == 3 else row[:, None] for key, row in rows.items()})
    h_KBH, after = cell.step(stacked, wx_KBG, state)
    for k, layer in enumerate(trials):
        h_BH, alone = cell.step(weights(layer), wx_KBG[k], tuple(s[k] for s in state))
        assert_close((h_KBH[k], *(s[k] for s in after)), (h_BH, *alone))


# start weights


@any_cell
@pytest.mark.parametrize("bidirectional", [False, True])
def test_start_depends_on_the_seed_alone(name: str, bidirectional: bool) -> None:
    drawn_once = []
    for seed, fused, elsewhere in [(1, True, 5), (1, False, 6), (2, True, 5)]:
        torch.manual_seed(elsewhere)
        stack = Stack(CELLS[name], 2, 4, 2, bidirectional, 0.0, fused)
        stack.start(torch.Generator().manual_seed(seed))
        drawn_once.append({key: weight.detach() for key, weight in stack.named_parameters()})
    one, loop, other = drawn_once
    assert all(torch.equal(one[key], loop[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)
    assert all(bool(weight.isfinite().all()) for weight in one.values())


@any_cell
def test_start_follows_its_convention(name: str) -> None:
    layer = Layer(CELLS[name], 5, 4, fused=False)
    layer.start(torch.Generator().manual_seed(0))
    for key, weight in layer.named_parameters():
        how = layer.cell.start(key, 4)
        blocks = how if isinstance(how, tuple) else (how,)
        assert weight.shape[0] % len(blocks) == 0
        for block, value in zip(weight.detach().chunk(len(blocks)), blocks, strict=True):
            if value is None:
                assert 0 < block.abs().max() <= 1 / math.sqrt(4)
                assert len(block.unique()) == block.numel()
            elif value == "identity":
                assert torch.equal(block, torch.eye(4))
            else:
                assert bool((block == value).all())


# mathematics


@any_kernel
def test_gradient_equals_finite_differences(name: str, fused: bool) -> None:
    layer = drawn(Layer(CELLS[name], 2, 2, fused))
    names, params = zip(*layer.named_parameters(), strict=True)
    start = tuple(noise(2, 2, seed=seed).requires_grad_() for seed, _ in enumerate(layer.cell.states))

    def unroll(x_BTD, *rest):
        given = dict(zip(names, rest[: len(names)], strict=True))
        out_BTH, after, _ = functional_call(layer, given, (x_BTD, rest[len(names) :], [2, 1]))
        return out_BTH, *after

    arguments = (noise(2, 3, 2, seed=9).requires_grad_(), *params, *start)
    assert gradcheck(unroll, arguments)
    if layer.kernel != "fused":  # oneDNN and cuDNN have no second derivative
        assert gradgradcheck(unroll, arguments, fast_mode=True)  # along one random direction


@pytest.mark.parametrize("name", [name for name, cell in CELLS.items() if cell.fused])
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "loop"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=["f32", "f64"])
@any_depth
@any_direction
def test_equals_torch(name, fused, dtype, tolerance, layers, bidirectional) -> None:
    stack = built(CELLS[name], fused, layers, bidirectional).to(dtype)
    module = TORCH[str(CELLS[name].fused)](2, 3, layers, batch_first=True, bidirectional=bidirectional).to(dtype)
    ours = [getattr(layer, key) for row in stack.rows for layer in row for key in ORDER]
    with torch.no_grad():
        for theirs, weight in zip(module.parameters(), ours, strict=True):
            theirs.copy_(weight)
    x_BTD = noise(4, 6, 2).to(dtype)
    goal = noise(4, 6, stack.width, seed=1).to(dtype)
    ends = []
    for run in (lambda x: stack(x, stack.zero_state(4), torch.full((4,), 6), [6])[:2], module):
        leaf_BTD = x_BTD.clone().requires_grad_()
        out_BTH, end = run(leaf_BTD)
        (out_BTH - goal).square().mean().backward()
        ends.append((out_BTH, leaf_BTD.grad, end))
    (out, grad, end), (torch_out, torch_grad, torch_end) = ends
    assert_close((out, grad), (torch_out, torch_grad), tolerance)
    assert_close([w.grad for w in ours], [w.grad for w in module.parameters()], tolerance)
    torch_end = torch_end if isinstance(torch_end, tuple) else (torch_end,)
    assert_close([torch.stack(s) for s in zip(*end, strict=True)], list(torch_end), tolerance)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=["f32", "f64"])
@any_depth
@any_direction
def test_the_quick_kernel_equals_the_loop(name, dtype, tolerance, layers, bidirectional) -> None:
    found = []
    for fused in (True, False):
        stack = built(CELLS[name], fused, layers, bidirectional).to(dtype)
        x_BTD = noise(3, 7, 2).to(dtype).requires_grad_()
        start = [tuple(noise(3, 3, seed=i).to(dtype) for i, _ in enumerate(s)) for s in stack.zero_state(3)]
        out_BTH, end, _ = stack(x_BTD, start, torch.tensor([7, 2, 5]), [4, 3])
        out_BTH.square().mean().backward()
        found.append((out_BTH, end, x_BTD.grad, gradients(stack)))
    assert_close(found[0], found[1], tolerance)


# time


@any_kernel
@pytest.mark.parametrize("pieces", [[7], [1] * 7, [1, 2, 4]], ids=str)
def test_cutting_into_pieces_changes_neither_output_nor_gradient(name, fused, pieces) -> None:
    stack = built(CELLS[name], fused, layers=2)
    x_BTD = noise(3, 7, 2)
    plain_BTH, _ = unrolled(stack, x_BTD)
    plain_BTH.square().sum().backward()
    expected = gradients(stack)
    out_BTH, end, marks = stack(x_BTD, stack.zero_state(3), torch.full((3,), 7), pieces)
    out_BTH.square().sum().backward()
    assert_close(out_BTH, plain_BTH)
    assert_close(gradients(stack), expected)
    for layer, found in enumerate(marks):
        assert [mark.step for mark in found] == ([sum(pieces[: i + 1]) for i in range(len(pieces))] if found else [])
        assert_close([(m.output_BPH[:, -1], *m.others) for m in found][-1:], [end[layer]] * bool(found))


@any_kernel
@pytest.mark.parametrize("pieces", [[1] * 7, [3, 3, 1], [1, 3, 3]], ids=str)
@pytest.mark.parametrize("at_end", [True, False], ids=["at-end", "each-step"])
@any_depth
def test_truncated_gradient_equals_the_one_by_hand(name, fused, pieces, at_end, layers) -> None:
    stack = built(CELLS[name], fused, layers)
    x_BTD, cuts = noise(3, 7, 2), {sum(pieces[:i]) for i in range(1, len(pieces))}
    found = []
    for out_BTH in (
        in_windows(stack, x_BTD, torch.full((3,), 7), pieces),
        unrolled(stack, x_BTD, cuts)[0],
    ):
        (out_BTH[:, -1:] if at_end else out_BTH).square().sum().backward()
        found.append(gradients(stack))
    assert_close(found[0], found[1])


@any_kernel
def test_truncation_changes_the_gradient_and_not_the_output(name: str, fused: bool) -> None:
    stack, x_BTD = built(CELLS[name], fused), noise(3, 7, 2)
    found = []
    for out_BTH in (
        stack(x_BTD, stack.zero_state(3), torch.full((3,), 7), [3, 4])[0],
        in_windows(stack, x_BTD, torch.full((3,), 7), [3, 4]),
    ):
        out_BTH.square().sum().backward()
        found.append((out_BTH.detach(), gradients(stack)))
    assert torch.equal(found[0][0], found[1][0])
    different = not all(torch.allclose(a, b, 0, 1e-12) for a, b in zip(found[0][1], found[1][1], strict=True))
    assert different == bool(CELLS[name].states)


@pytest.mark.parametrize(("name", "fused"), [(name, fused) for name, fused in KERNELS if CELLS[name].states])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("pieces", [[1] * 6, [2, 3, 1], [6]], ids=str)
def test_gradient_by_lag_equals_autograd_at_every_state(name, fused, layers, pieces) -> None:
    stack, x_BTD = built(CELLS[name], fused, layers), noise(3, 6, 2)
    carried = [tuple(0.3 * noise(3, 3, seed=i) for i, _ in enumerate(s)) for s in stack.zero_state(3)]
    plain_BTH, states = unrolled(stack, x_BTD, start=leaf(carried))
    plain_BTH[:, -1].square().sum().backward()
    start = leaf(carried)
    out_BTH, _, marks = stack(x_BTD, start, torch.full((3,), 6), pieces)
    lags, norms = by_lag(out_BTH[:, -1].square().sum(), start, marks, 6)
    assert lags == [6 - step for step in [0, *(sum(pieces[: i + 1]) for i in range(len(pieces)))]][::-1]
    for layer in range(layers):
        for lag, norm in zip(lags, norms[layer], strict=True):
            parts = [s.grad.square().sum() for s in states[layer][6 - lag] if s.grad is not None]
            assert_close(norm, torch.stack(parts).sum().sqrt() if parts else torch.zeros_like(norm))


@any_kernel
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_runs_in_every_arithmetic(name, fused, dtype, tolerance) -> None:
    stack, x_BTD = built(CELLS[name], fused, layers=2, bidirectional=True), noise(2, 5, 2)
    expected = stack(x_BTD, stack.zero_state(2), torch.tensor([5, 3]), [2, 3])[0]
    stack.to(dtype)
    out_BTH, end, _ = stack(x_BTD.to(dtype), stack.zero_state(2), torch.tensor([5, 3]), [2, 3])
    out_BTH.float().square().sum().backward()
    assert {out_BTH.dtype, *(s.dtype for state in end for s in state)} == {dtype}
    assert_close(out_BTH.double(), expected, tolerance)
    assert all(bool(grad.isfinite().all()) for grad in gradients(stack))


@any_kernel
@pytest.mark.parametrize(("batch", "steps"), [(1, 1), (1, 4), (3, 1)])
def test_one_step_and_one_sequence_are_sizes_like_any_other(name, fused, batch, steps) -> None:
    stack, x_BTD = built(CELLS[name], fused, layers=2), noise(batch, steps, 2)
    out_BTH = in_windows(stack, x_BTD, torch.full((batch,), steps), [1] * steps)
    assert_close(out_BTH, unrolled(stack, x_BTD)[0])
    out_BTH.sum().backward()
    assert all(bool(grad.isfinite().all()) for grad in gradients(stack))


# what the record says of it


@any_kernel
def test_the_record_names_what_ran(name: str, fused: bool) -> None:
    cell, task = CELLS[name], Adding(length=4)
    trial = Trial(task=task.plain(), cell=cell.plain(), kernel="auto" if fused else "loop", hidden_size=3, examples=1)
    batch = Batch(torch.rand(2, 4, 2), torch.rand(2, 1), torch.tensor([4, 3]))
    ran = kernel_of(SequenceModel(trial, task, cell), [batch])
    expected = {"scan": {"parallel scan"}, "fused": {"ATen loop", "oneDNN fused"}, "loop": {"Python loop"}}
    assert ran in (expected[cell.kernels[0] if fused else "loop"] if cell.states else {"batched"})


@any_cell
@pytest.mark.parametrize("kernel", ["auto", "fused", "scan", "loop"])
def test_a_kernel_that_the_cell_lacks_is_refused_and_one_that_cannot_matter_is_normalised(name, kernel) -> None:
    cell = CELLS[name]
    trial = Trial(task=Adding().plain(), cell=cell.plain(), kernel=kernel, examples=1)
    if kernel == "auto" or kernel in cell.kernels:
        trial.check()
    else:
        with pytest.raises(UserError, match=f"has no '{kernel}' kernel\n  allowed: auto, .*loop"):
            trial.check()
    if kernel == cell.kernels[0]:  # what `auto` takes: one computation has one id
        assert trial.normalised() == trial.model_copy(update={"kernel": "auto"}).normalised()


def test_a_cell_of_the_test_itself_is_held_to_its_word() -> None:
    """The registry's cells are not special: a cell written here runs through the same layer."""

    class Leaky(Cell):
        """h' = 0.5 h + 0.5 tanh(x)."""

        gates = 1
        states = ("h",)

        def step(self, w, wx_BG, state):
            h_BH = 0.5 * state[0] + 0.5 * wx_BG.tanh()
            return h_BH, (h_BH,)

    stack, x_BTD = built(Leaky(), fused=True), noise(2, 4, 2)
    assert stack.kernel == "loop"
    assert_close(stack(x_BTD, stack.zero_state(2), torch.full((2,), 4), [4])[0], unrolled(stack, x_BTD)[0])
