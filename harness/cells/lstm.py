"""Long short-term memory."""

from typing import ClassVar

from harness.cells.base import Cell


class LSTM(Cell):
    """Long short-term memory with forget gate: c' = f c + i g, h' = o tanh(c').

    Hochreiter and Schmidhuber, Neural Computation 9 (1997); Gers et al. (2000). Same mathematics as torch.nn.LSTM.
    """

    forget_bias: float = 1.0
    """Start of the forget gate's input bias; 1 opens it (Jozefowicz et al., ICML 2015), 0 is close to torch's."""

    gates: ClassVar = 4
    states: ClassVar = ("h", "c")
    starts: ClassVar = ("forget_bias",)

    @property
    def fused(self):
        return "lstm"

    def start(self, name, hidden):
        return (None, self.forget_bias, None, None) if name == "bias_ih" else None

    def step(self, w, wx_BG, state):
        h_BH, c_BH = state
        i, f, g, o = (wx_BG + h_BH @ w.weight_hh.mT + w.bias_hh).chunk(4, -1)
        c_BH = f.sigmoid() * c_BH + i.sigmoid() * g.tanh()
        h_BH = o.sigmoid() * c_BH.tanh()
        return h_BH, (h_BH, c_BH)
