"""The minimal gated unit."""

from typing import ClassVar

from harness.cells.base import Cell


class MGU(Cell):
    """Minimal gated unit, one gate: f = s(Wx + Uh), n = tanh(W'x + U'(f h)), h' = (1 - f) h + f n (biases left out).

    Zhou, Wu, Zhang, Zhou, "Minimal gated unit for recurrent neural networks", arXiv:1603.09420. The gate acts
    before the recurrent product, so a step is two products of H by H and no fused kernel computes it.
    """

    gates: ClassVar = 2
    states: ClassVar = ("h",)
    paper: ClassVar = "arXiv:1603.09420"

    def step(self, w, wx_BG, state):
        (h_BH,) = state
        fx, nx = wx_BG.chunk(2, -1)
        fu, nu = w.weight_hh.chunk(2, -2)
        fb, nb = w.bias_hh.chunk(2, -1)
        forget = (fx + h_BH @ fu.mT + fb).sigmoid()
        new = (nx + (forget * h_BH) @ nu.mT + nb).tanh()
        h_BH = h_BH + forget * (new - h_BH)
        return h_BH, (h_BH,)
