"""The gated cells of on_chip.py: GRU and LSTM. What each gate was is kept for the way back, (K, T, B, G) as wx is."""

from __future__ import annotations

import triton
import triton.language as tl

from harness.pack.on_chip import block, product, sigmoid, tanh, weights


@triton.jit
def gated_forward(
    wx, weight, bias, states, gates, across_n, far, steps, batch, hidden,
    ROWS: tl.constexpr, WIDE: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """r = s(wx_r + U_r h + d_r), z = s(wx_z + U_z h + d_z), n = tanh(wx_n + r (U_n h + d_n)), h' = n + z (h - n); keeps
    r, z, n and U_n h + d_n."""
    k = tl.program_id(0).to(tl.int64)
    row, unit, real = block(batch, hidden, ROWS, WIDE)
    at, wide_at, size = row * hidden + unit, row * 3 * hidden + unit, batch * hidden
    weight, bias = weight + k * 3 * hidden * hidden, bias + k * 3 * hidden + unit
    u_r, u_z = weights(weight, 0, hidden, WIDE, True), weights(weight, 1, hidden, WIDE, True)
    u_n = weights(weight, 2, hidden, WIDE, True)
    d_r, d_z = tl.load(bias, mask=unit < hidden, other=0.0), tl.load(bias + hidden, mask=unit < hidden, other=0.0)
    d_n = tl.load(bias + 2 * hidden, mask=unit < hidden, other=0.0)
    wx, gates, across_n = wx + k * steps * 3 * size, gates + k * steps * 3 * size, across_n + k * steps * size
    states += k * size
    h, nothing = tl.load(states + at, mask=real, other=0.0), tl.zeros((ROWS, WIDE), dtype=u_n.dtype)
    for _ in range(steps):
        pre_r = product(h, u_r, tl.load(wx + wide_at, mask=real, other=0.0) + d_r, EXACT)
        pre_z = product(h, u_z, tl.load(wx + wide_at + hidden, mask=real, other=0.0) + d_z, EXACT)
        past = product(h, u_n, nothing, EXACT) + d_n
        r, z = sigmoid(pre_r), sigmoid(pre_z)
        n = tanh(tl.load(wx + wide_at + 2 * hidden, mask=real, other=0.0) + r * past)
        h = n + z * (h - n)
        tl.store(gates + wide_at, r, mask=real)
        tl.store(gates + wide_at + hidden, z, mask=real)
        tl.store(gates + wide_at + 2 * hidden, n, mask=real)
        tl.store(across_n + at, past, mask=real)
        wx, gates, across_n, states = wx + 3 * size, gates + 3 * size, across_n + size, states + far
        tl.store(states + at, h, mask=real)


@triton.jit
def gated_backward(
    due, weight, states, gates, across_n, pre, pre_n, first, far, steps, batch, hidden,
    ROWS: tl.constexpr, WIDE: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Writes what arrives at wx (`pre`), at U_n h + d_n (`pre_n`) and at the state before the first step. `due` is that
    of the last step, `states` the one before it."""
    k = tl.program_id(0).to(tl.int64)
    row, unit, real = block(batch, hidden, ROWS, WIDE)
    at, wide_at, size = row * hidden + unit, row * 3 * hidden + unit, batch * hidden
    weight += k * 3 * hidden * hidden
    u_r, u_z = weights(weight, 0, hidden, WIDE, False), weights(weight, 1, hidden, WIDE, False)
    u_n = weights(weight, 2, hidden, WIDE, False)
    wide_end, end = (k + 1) * steps * 3 * size, (k + 1) * steps * size
    gates, pre, across_n, pre_n = gates + wide_end, pre + wide_end, across_n + end, pre_n + end
    states, due = states + k * size, due + k * size
    arrives = tl.zeros((ROWS, WIDE), dtype=u_r.dtype)
    for _ in range(steps):
        gates, pre, across_n, pre_n = gates - 3 * size, pre - 3 * size, across_n - size, pre_n - size
        r, z = tl.load(gates + wide_at, mask=real, other=0.0), tl.load(gates + wide_at + hidden, mask=real, other=0.0)
        n = tl.load(gates + wide_at + 2 * hidden, mask=real, other=0.0)
        h = tl.load(states + at, mask=real, other=0.0)
        arrives += tl.load(due + at, mask=real, other=0.0)
        mine_n = arrives * (1 - z) * (1 - n * n)
        mine_r = mine_n * tl.load(across_n + at, mask=real, other=0.0) * r * (1 - r)
        mine_z = arrives * (h - n) * z * (1 - z)
        tl.store(pre + wide_at, mine_r, mask=real)
        tl.store(pre + wide_at + hidden, mine_z, mask=real)
        tl.store(pre + wide_at + 2 * hidden, mine_n, mask=real)
        tl.store(pre_n + at, mine_n * r, mask=real)
        arrives = product(mine_r, u_r, arrives * z, EXACT)
        arrives = product(mine_z, u_z, arrives, EXACT)
        arrives = product(mine_n * r, u_n, arrives, EXACT)
        states, due = states - far, due - far
    tl.store(first + k * size + at, arrives, mask=real)


@triton.jit
def lstm_forward(
    wx, weight, states, cells, gates, far, steps, batch, hidden,
    ROWS: tl.constexpr, WIDE: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """i, f, g, o of wx + U h, c' = f c + i g, h' = o tanh(c'); keeps i, f, g, o and every c."""
    k = tl.program_id(0).to(tl.int64)
    row, unit, real = block(batch, hidden, ROWS, WIDE)
    at, wide_at, size = row * hidden + unit, row * 4 * hidden + unit, batch * hidden
    weight += k * 4 * hidden * hidden
    u_i, u_f = weights(weight, 0, hidden, WIDE, True), weights(weight, 1, hidden, WIDE, True)
    u_g, u_o = weights(weight, 2, hidden, WIDE, True), weights(weight, 3, hidden, WIDE, True)
    wx, gates = wx + k * steps * 4 * size, gates + k * steps * 4 * size
    states, cells = states + k * size, cells + k * size
    h, c = tl.load(states + at, mask=real, other=0.0), tl.load(cells + at, mask=real, other=0.0)
    for _ in range(steps):
        read = wx + wide_at
        pre_i = product(h, u_i, tl.load(read, mask=real, other=0.0), EXACT)
        pre_f = product(h, u_f, tl.load(read + hidden, mask=real, other=0.0), EXACT)
        pre_g = product(h, u_g, tl.load(read + 2 * hidden, mask=real, other=0.0), EXACT)
        pre_o = product(h, u_o, tl.load(read + 3 * hidden, mask=real, other=0.0), EXACT)
        i, f, g, o = sigmoid(pre_i), sigmoid(pre_f), tanh(pre_g), sigmoid(pre_o)
        c = f * c + i * g
        h = o * tanh(c)
        tl.store(gates + wide_at, i, mask=real)
        tl.store(gates + wide_at + hidden, f, mask=real)
        tl.store(gates + wide_at + 2 * hidden, g, mask=real)
        tl.store(gates + wide_at + 3 * hidden, o, mask=real)
        wx, gates, states, cells = wx + 4 * size, gates + 4 * size, states + far, cells + far
        tl.store(states + at, h, mask=real)
        tl.store(cells + at, c, mask=real)


@triton.jit
def lstm_backward(
    due, due_c, weight, cells, gates, pre, first, first_c, far, steps, batch, hidden,
    ROWS: tl.constexpr, WIDE: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Writes what arrives at wx (`pre`) and at both states before the first step. `due` and `cells` are those of the
    last step, `due_c` what arrives at its c from outside."""
    k = tl.program_id(0).to(tl.int64)
    row, unit, real = block(batch, hidden, ROWS, WIDE)
    at, wide_at, size = row * hidden + unit, row * 4 * hidden + unit, batch * hidden
    weight += k * 4 * hidden * hidden
    u_i, u_f = weights(weight, 0, hidden, WIDE, False), weights(weight, 1, hidden, WIDE, False)
    u_g, u_o = weights(weight, 2, hidden, WIDE, False), weights(weight, 3, hidden, WIDE, False)
    gates, pre = gates + (k + 1) * steps * 4 * size, pre + (k + 1) * steps * 4 * size
    cells, due = cells + k * size, due + k * size
    arrives_c = tl.load(due_c + k * size + at, mask=real, other=0.0)
    nothing = tl.zeros((ROWS, WIDE), dtype=u_i.dtype)
    arrives, c = nothing, tl.load(cells + at, mask=real, other=0.0)
    for _ in range(steps):
        gates, pre, cells = gates - 4 * size, pre - 4 * size, cells - far
        kept = gates + wide_at
        i, f = tl.load(kept, mask=real, other=0.0), tl.load(kept + hidden, mask=real, other=0.0)
        g, o = tl.load(kept + 2 * hidden, mask=real, other=0.0), tl.load(kept + 3 * hidden, mask=real, other=0.0)
        arrives += tl.load(due + at, mask=real, other=0.0)
        shown = tanh(c)
        c = tl.load(cells + at, mask=real, other=0.0)
        arrives_c += arrives * o * (1 - shown * shown)
        mine_i, mine_f = arrives_c * g * i * (1 - i), arrives_c * c * f * (1 - f)
        mine_g, mine_o = arrives_c * i * (1 - g * g), arrives * shown * o * (1 - o)
        tl.store(pre + wide_at, mine_i, mask=real)
        tl.store(pre + wide_at + hidden, mine_f, mask=real)
        tl.store(pre + wide_at + 2 * hidden, mine_g, mask=real)
        tl.store(pre + wide_at + 3 * hidden, mine_o, mask=real)
        arrives_c *= f
        arrives = product(mine_i, u_i, nothing, EXACT)
        arrives = product(mine_f, u_f, arrives, EXACT)
        arrives = product(mine_g, u_g, arrives, EXACT)
        arrives = product(mine_o, u_o, arrives, EXACT)
        due -= far
    tl.store(first + k * size + at, arrives, mask=real)
    tl.store(first_c + k * size + at, arrives_c, mask=real)
