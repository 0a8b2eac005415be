"""The simple recurrent network."""

from typing import ClassVar, Literal

from harness.cells.base import Cell


class Elman(Cell):
    """Simple recurrent network: h' = act(W x + b + U h + d).

    Elman, "Finding structure in time", Cognitive Science 14 (1990). Same mathematics as torch.nn.RNN.
    """

    activation: Literal["tanh", "relu"] = "tanh"

    gates: ClassVar = 1
    states: ClassVar = ("h",)

    @property
    def fused(self):
        return f"rnn_{self.activation}"

    @property
    def rectified(self):
        return self.activation == "relu"

    def step(self, w, wx_BG, state):
        pre_BH = wx_BG + state[0] @ w.weight_hh.mT + w.bias_hh
        h_BH = pre_BH.tanh() if self.activation == "tanh" else pre_BH.relu()
        return h_BH, (h_BH,)
