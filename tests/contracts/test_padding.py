"""Padding of every cell: nothing depends on it, not even where a network explodes in it."""

from __future__ import annotations

import pytest
import torch
from by_hand import built, every_cell, every_kernel, gradients, in_windows, noise

CELLS = every_cell()
any_kernel = pytest.mark.parametrize(("name", "fused"), every_kernel(CELLS))
any_direction = pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])


@pytest.mark.slow
@any_kernel
@any_direction
def test_a_state_that_would_overflow_in_the_padding_changes_nothing(name, fused, bidirectional) -> None:
    """A rectified state grows there as long as the longest sequence is, and 0 * inf would be NaN."""
    stack, steps = built(CELLS[name], fused, 2, bidirectional), 180
    with torch.no_grad():
        for key, weight in stack.named_parameters():
            grows = key.endswith("weight_hh") or (key.startswith("layers.0") and key.endswith("weight_ih"))
            weight.copy_(100 * weight.abs() if grows else -weight.abs() if "bias" in key else 100 * weight)
    x_BTD, lengths = noise(2, steps, 2), [steps, 3]
    x_BTD[0], x_BTD[1] = -x_BTD[0].abs() - 5, x_BTD[1].abs()  # the long one stays off where that can be
    found = []
    for rows in ([(slice(0, 2), steps)], [(slice(0, 1), steps), (slice(1, 2), 3)]):
        for row, most in rows:
            read_BTD, lengths_B = x_BTD[row, :most], torch.tensor(lengths[row])
            out_BTH = in_windows(stack, read_BTD, lengths_B, [most])
            again_BTH, _, _ = stack(read_BTD, stack.zero_state(len(read_BTD)), lengths_B, [most])
            each = zip(out_BTH, again_BTH, lengths_B.tolist(), strict=True)
            sum((out[:n] + again[:n]).tanh().square().sum() for out, again, n in each).backward()
        found.append(gradients(stack))
    assert all(bool(grad.isfinite().all()) for grad in found[0])
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)
