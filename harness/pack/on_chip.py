"""Loops over time as single GPU programs, in Triton: one program for each trial and block of its rows.

Its recurrent weights and states stay on the chip, and every step is made inside: nothing is launched in between, and
trials run side by side. What arrives at the weights is one batched product over all steps afterwards (on_gpu.py).
TRITON_INTERPRET=1 runs the same programs on a CPU, which is how they are tested where there is no GPU.

Shape legend: see harness/cells/base.py. Pointers: wx and what is kept of gates (K, T, B, G), states (T + 1, K, B, H),
what arrives (T, K, B, H), weights (K, G, H); ROWS x WIDE is the block that one program holds, of which B x H is real:
the rest is 0 and is not stored. Only `exp` is called, of numbers that are never positive: Triton's own tanh is not
there in its interpreter, and no number overflows.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    small = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1, small) / (1 + small)


@triton.jit
def tanh(x):
    """(1 - exp(-2 |x|)) / (1 + exp(-2 |x|)), with the sign of x."""
    small = tl.exp(-2 * tl.abs(x))
    size = (1 - small) / (1 + small)
    return tl.where(x >= 0, size, -size)


@triton.jit
def weights(weight, gate, hidden, WIDE: tl.constexpr, ACROSS: tl.constexpr):
    """One gate's block of a trial's weights: (H in, H out), so that h @ block is U h; not ACROSS: the way back."""
    row, column = tl.arange(0, WIDE)[:, None], tl.arange(0, WIDE)[None, :]
    at = column * hidden + row if ACROSS else row * hidden + column
    return tl.load(weight + gate * hidden * hidden + at, mask=(row < hidden) & (column < hidden), other=0.0)


@triton.jit
def product(rows, weight, plus, EXACT: tl.constexpr):
    """rows @ weight + plus."""
    return tl.dot(rows, weight, acc=plus, input_precision=EXACT, out_dtype=weight.dtype)


@triton.jit
def block(batch, hidden, ROWS: tl.constexpr, WIDE: tl.constexpr):
    """Which rows and units this program has: both, and which of them are real."""
    row = (tl.program_id(1) * ROWS + tl.arange(0, ROWS))[:, None]
    unit = tl.arange(0, WIDE)[None, :]
    return row, unit, (row < batch) & (unit < hidden)


@triton.jit
def simple_forward(
    wx, weight, states, far, steps, batch, hidden,
    ROWS: tl.constexpr, WIDE: tl.constexpr, EXACT: tl.constexpr, RECTIFIED: tl.constexpr,
):  # fmt: skip
    """h' = act(wx + U h), act tanh or relu; the first of `states` is there, the others are written."""
    k = tl.program_id(0).to(tl.int64)
    row, unit, real = block(batch, hidden, ROWS, WIDE)
    at, size = row * hidden + unit, batch * hidden
    across = weights(weight + k * hidden * hidden, 0, hidden, WIDE, True)
    wx, states = wx + k * steps * size, states + k * size
    h = tl.load(states + at, mask=real, other=0.0)
    for _ in range(steps):
        pre = product(h, across, tl.load(wx + at, mask=real, other=0.0), EXACT)
        h = tl.where(pre < 0, 0.0, pre) if RECTIFIED else tanh(pre)  # NaN stays NaN
        wx, states = wx + size, states + far
        tl.store(states + at, h, mask=real)


@triton.jit
def simple_backward(
    due, weight, states, pre, first, far, steps, batch, hidden,
    ROWS: tl.constexpr, WIDE: tl.constexpr, EXACT: tl.constexpr, RECTIFIED: tl.constexpr,
):  # fmt: skip
    """Writes what arrives at wx (`pre`) and at the state before the first step. `due` and `states` are those of the
    last step."""
    k = tl.program_id(0).to(tl.int64)
    row, unit, real = block(batch, hidden, ROWS, WIDE)
    at, size = row * hidden + unit, batch * hidden
    back = weights(weight + k * hidden * hidden, 0, hidden, WIDE, False)
    pre, states, due = pre + (k + 1) * steps * size, states + k * size, due + k * size
    nothing = tl.zeros((ROWS, WIDE), dtype=back.dtype)
    arrives = nothing
    for _ in range(steps):
        pre -= size
        h = tl.load(states + at, mask=real, other=0.0)
        arrives += tl.load(due + at, mask=real, other=0.0)
        mine = tl.where(h <= 0, 0.0, arrives) if RECTIFIED else arrives * (1 - h * h)
        tl.store(pre + at, mine, mask=real)
        arrives = product(mine, back, nothing, EXACT)
        states, due = states - far, due - far
    tl.store(first + k * size + at, arrives, mask=real)
