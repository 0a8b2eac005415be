"""The loops of a GPU are the cells' own steps: what they compute, and their derivative, on numbers that nobody chose.

Where there is no GPU they run in Triton's interpreter (conftest.py sets TRITON_INTERPRET), operation by operation.
"""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from packs import ADDING, DIGITS, STREAM, same_as_alone, trials
from torch import Tensor

from harness import machine, registry
from harness.engine import begin
from harness.errors import UserError
from harness.models.base import Windows
from harness.models.layer import Layer
from harness.pack import on_gpu
from harness.pack.layers import loop_of
from harness.pack.stacked import Gradient, Stacked
from harness.trial import Trial

NAMES = sorted(on_gpu.LOOPS)
DEVICE = "cuda" if machine.gpu_names() else "cpu"
# It takes int() of an array with one number, as `range` needs it: not 0-dimensional, which NumPy 2.4 refuses.
OLD = DEVICE == "cpu" and machine.version("triton").startswith("3.6.")
runs = pytest.mark.skipif(OLD, reason="the interpreter of Triton 3.6, of torch 2.11, does not go with NumPy 2.4")
CELLS = {kind().fused: kind() for kind in registry.members("harness.cells").values() if kind().fused}
CELLS["rnn_relu"] = registry.build("cell", {"name": "elman", "activation": "relu"})
PACKED = Path(__file__).parents[2] / "benchmarks" / "packed.py"
SHAPES = [(1, 1, 1, 1), (3, 5, 18, 13), (2, 3, 16, 16), (2, 4, 5, 33)]
"""K, T, B, H: the least there is, more rows than a program has, all of a block, and less than half of its units."""


def plain(cell: Any, wx: Tensor, weight: Tensor, bias: Tensor, *state: Tensor) -> list[Tensor]:
    """By the cell's own step, which takes stacked weights: outputs, and the states beside h."""
    weights, outputs = SimpleNamespace(weight_hh=weight, bias_hh=bias[:, None]), []
    for wx_KBG in wx.unbind(1):
        out, state = cell.step(weights, wx_KBG, state)
        outputs.append(out)
    return [torch.stack(outputs), *state[1:]]


def looped(name: str, wx: Tensor, weight: Tensor, bias: Tensor, *state: Tensor) -> list[Tensor]:
    """As a layer runs it."""
    loop = on_gpu.LOOPS[name]
    given = (wx + bias[:, None, None], state, weight, None) if loop.folds else (wx, state, weight, bias)
    out, others = loop.run(*given)
    return [out, *others]


def agree(name: str, shape: tuple[int, ...], dtype: torch.dtype, device: str, within: float) -> None:
    """Outputs and gradients, of all that is given, are those of the plain steps in float64, but for `within` of the
    largest of each."""
    seed, cell, (trials, steps, batch, hidden) = torch.seed(), CELLS[name], shape
    wide = cell.gates * hidden
    shapes = [(trials, steps, batch, wide), (trials, wide, hidden), (trials, wide)]
    shapes += [(trials, batch, hidden)] * len(cell.states)
    wanted = [torch.randn(each, dtype=torch.float64).requires_grad_() for each in shapes]
    with torch.no_grad():
        wanted[1] *= hidden**-0.5  # as weights are, so that no sum over steps grows
    given = [each.detach().to(device, dtype).requires_grad_() for each in wanted]
    expected, found = plain(cell, *wanted), looped(name, *given)
    due = [torch.randn_like(each) for each in expected]
    torch.autograd.backward(expected, due)
    torch.autograd.backward(found, [each.to(device, dtype) for each in due])
    pairs = [*zip(expected, found, strict=True), *((w.grad, g.grad) for w, g in zip(wanted, given, strict=True))]
    for one, other in pairs:
        assert one is not None and other is not None and other.dtype == dtype
        off = (one - other.detach().cpu().double()).abs().max() / one.abs().max().clamp(min=1)
        assert off <= within, f"{name} {shape}, seed {seed}: off by {off:.1e}"


@runs
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_cells_own_step_and_so_is_its_derivative(name, shape):
    agree(name, shape, torch.float64, DEVICE, 1e-9)


@runs
@pytest.mark.parametrize("name", NAMES)
def test_in_float32_to_what_float32_holds(name):
    agree(name, SHAPES[1], torch.float32, DEVICE, 1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_on_a_gpu_it_is_so_at_the_sizes_that_are_trained(name, dtype):
    hidden = 64 if dtype == torch.float32 else 32
    agree(name, (16, 64, 32, hidden), dtype, "cuda", 1e-4 if dtype == torch.float32 else 1e-9)


KINDS: dict[str, dict[str, Any]] = {
    "at the end, two layers": DIGITS | {"layers": 2},
    "windows that overlap": ADDING | {"bptt_length": 5, "bptt_stride": 3},
    "a stream that looks back": STREAM | {"bptt_length": 8, "bptt_stride": 4},
}


def gradients(members: list[Trial], device: str, on_chip: bool, updates: int = 2) -> list[Gradient]:
    """What a pack finds in its first batches, in which no weight moves; every one is looked into."""
    courses = [begin(trial).course for trial in members]
    modules = [course.module.to(device) for course in courses]
    stacked = Stacked(modules, [module.configure_optimizers() for module in modules])
    for layer in (layer for block in stacked.blocks for row in block.model.stack.rows for layer in row):
        if on_chip:
            layer.loop = on_gpu.LOOPS[layer.cell.fused]
    one, found = modules[0], []
    reach = (None, None) if one.task.stream else (one.trial.bptt_length, one.trial.bptt_stride)
    for batches in islice(zip(*(iter(course.loader) for course in courses), strict=True), updates):
        moved = [one.transfer_batch_to_device(batch, torch.device(device), 0) for batch in batches]
        gradient = stacked.gradient(moved, Windows(*reach, watch=True))
        assert gradient is not None
        found.append(gradient)
    return found


def same_gradients(members: list[Trial], device: str, within: float) -> None:
    wanted, found = gradients(members, "cpu", on_chip=False), gradients(members, device, on_chip=True)
    for one, other in zip(wanted, found, strict=True):
        torch.testing.assert_close(torch.tensor(other.losses), torch.tensor(one.losses), rtol=within, atol=within)
        torch.testing.assert_close(other.grads_KN.cpu(), one.grads_KN, rtol=within, atol=within)
        for (lags, norms), (more, others) in zip(filter(None, one.by_lag), filter(None, other.by_lag), strict=True):
            assert lags == more and len(lags) > 1
            torch.testing.assert_close(others.cpu(), norms, rtol=within, atol=within)


@pytest.mark.slow
@runs
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_a_pack_finds_the_same_losses_gradients_and_gradients_by_lag(cell, kind):
    """With windows, states that are carried and reset, and layers one above the other."""
    same = {"batch_size": 4, "hidden_size": 6, "precision": "float64", "cell": {"name": cell}}
    same_gradients(trials({}, {}, **KINDS[kind] | same), DEVICE, 1e-9)


@pytest.mark.gpu
@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_on_a_gpu_a_pack_chooses_these_loops_and_finds_the_same(cell):
    members = trials({}, {}, cell={"name": cell}, hidden_size=64, **ADDING)
    same_gradients(members, "cuda", 1e-4)
    assert loop_of(layer(cell, 64), torch.device("cuda"), torch.float32) is on_gpu.LOOPS[layer(cell, 64).cell.fused]


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_on_a_gpu_a_packed_trial_is_the_trial_alone(cell, kind):
    members = trials({}, {"clip_norm": 0.1}, cell={"name": cell}, precision="float64", **KINDS[kind])
    records = same_as_alone(members, 1e-8, device="cuda:0")
    assert {record.kernel for record in records} == {"Triton loop, 2 trials, captured"}


def layer(cell: str, hidden: int) -> Layer:
    return Layer(registry.build("cell", {"name": cell}), 1, hidden, fused=True)


def test_what_is_too_wide_for_the_chip_is_left_to_batched_products():
    """An H100 has 227 KiB, an A100 163 KiB; measured by the compiler below."""
    h100, a100 = 232_448, 166_912
    fits = {
        gates: [h for h in (16, 32, 64, 65, 128) if on_gpu.fits(gates, h, torch.float32, h100)] for gates in (1, 3, 4)
    }
    assert fits == {1: [16, 32, 64, 65, 128], 3: [16, 32, 64], 4: [16, 32, 64]}
    assert on_gpu.fits(3, 64, torch.float32, a100) and not on_gpu.fits(4, 64, torch.float32, a100)
    assert on_gpu.fits(4, 32, torch.float64, h100) and not on_gpu.fits(4, 64, torch.float64, h100)


def test_without_triton_a_gpu_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("harness.pack.on_")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("harness.pack.on_gpu")
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(UserError, match=r"need Triton|run in Triton(.|\n)*try: pip install 'rnn-harness\[gpu\]'"):
        loop_of(layer("gru", 8), torch.device("cuda"), torch.float32)


@pytest.mark.slow
def test_the_benchmark_says_so_where_it_finds_no_gpu(run_python, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    code = f"import runpy; runpy.run_path({str(PACKED)!r}, run_name='__main__')"
    child = run_python(code, "--device", "cuda")
    out, err = child.communicate(timeout=120)
    assert child.returncode == 2 and not out and "--device cuda: torch " in err and "allowed: an NVIDIA GPU" in err


COMPILE = """
    import sys
    import torch, triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from harness.pack import on_chip, on_chip_gated, on_gpu

    def compiled(name, hidden, dtype, capability):
        kernel = getattr(on_chip if name.startswith("simple") else on_chip_gated, name)
        exact = {"fp32": "tf32x3", "fp64": "ieee"}[dtype]
        known = {"ROWS": on_gpu.ROWS, "WIDE": on_gpu._wide(hidden), "EXACT": exact, "RECTIFIED": False}
        kinds = dict.fromkeys(known, "constexpr") | dict.fromkeys(["far", "steps", "batch", "hidden"], "i32")
        names = kernel.arg_names
        source = ASTSource(
            kernel, {n: kinds.get(n, "*" + dtype) for n in names}, {n: known[n] for n in names if n in known},
            {(i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if n not in known},
        )
        return triton.compile(source, GPUTarget("cuda", capability, 32), {"num_warps": on_gpu.WARPS})

    for asked in sys.argv[1:]:
        name, hidden, dtype, capability, gates = asked.split(",")
        found = compiled(name, int(hidden), dtype, int(capability))
        assert "mma.sync" in found.asm["ptx"], f"{asked}: no tensor core is used"
        kind, taken = {"fp32": torch.float32, "fp64": torch.float64}[dtype], found.metadata.shared
        assert not on_gpu.fits(int(gates), int(hidden), kind, taken - 1), f"{asked}: takes {taken} bytes"
        print(asked, taken)
"""
WAYS = ("forward", "backward")
GATES = {"simple": 1, "gated": 3, "lstm": 4}
SIZES = [("simple", 128, "fp32", 90), ("gated", 64, "fp32", 80), ("lstm", 64, "fp32", 90), ("lstm", 32, "fp64", 90)]


@pytest.mark.slow
def test_the_compiler_takes_no_more_room_than_is_said(run_python, monkeypatch, tmp_path):
    """Compiled for an A100 and H100 here, which needs no GPU: machine code that multiplies on tensor cores."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    asked = [f"{kind}_{way},{hidden},{dtype},{of},{GATES[kind]}" for kind, hidden, dtype, of in SIZES for way in WAYS]
    child = run_python(COMPILE, *asked)
    out, err = child.communicate(timeout=280)
    assert child.returncode == 0 and len(out.splitlines()) == len(asked), err
