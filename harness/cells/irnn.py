"""The rectified recurrent network that starts by keeping everything."""

from typing import ClassVar

from harness.cells.base import Cell


class IRNN(Cell):
    """Identity-start recurrent network: h' = relu(W x + b + U h + d), with U = I, b = d = 0 at the start.

    Le, Jaitly, Hinton, "A simple way to initialize recurrent networks of rectified linear units",
    arXiv:1504.00941. W starts uniform in +-1/sqrt(H) as in every other cell; the paper draws it from N(0, 0.001^2).
    """

    gates: ClassVar = 1
    states: ClassVar = ("h",)
    paper: ClassVar = "arXiv:1504.00941"

    @property
    def fused(self):
        return "rnn_relu"

    @property
    def rectified(self):
        return True

    def start(self, name, hidden):
        return {"weight_hh": "identity", "bias_hh": 0.0, "bias_ih": 0.0}.get(name)

    def step(self, w, wx_BG, state):
        h_BH = (wx_BG + state[0] @ w.weight_hh.mT + w.bias_hh).relu()
        return h_BH, (h_BH,)
