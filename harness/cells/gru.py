"""The gated recurrent unit."""

from typing import ClassVar

from harness.cells.base import Cell


class GRU(Cell):
    """Gated recurrent unit, reset after the product: n = tanh(Wx + r (Uh + d)), h' = (1 - z) n + z h.

    Cho et al., arXiv:1406.1078 (2014), in the form that cuDNN and torch.nn.GRU compute.
    """

    gates: ClassVar = 3
    states: ClassVar = ("h",)

    @property
    def fused(self):
        return "gru"

    def step(self, w, wx_BG, state):
        (h_BH,) = state
        rx, zx, nx = wx_BG.chunk(3, -1)
        rh, zh, nh = (h_BH @ w.weight_hh.mT + w.bias_hh).chunk(3, -1)
        reset, update = (rx + rh).sigmoid(), (zx + zh).sigmoid()
        new = (nx + reset * nh).tanh()
        h_BH = new + update * (h_BH - new)
        return h_BH, (h_BH,)
