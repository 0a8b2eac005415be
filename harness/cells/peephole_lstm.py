"""Long short-term memory whose gates see the memory."""

from typing import ClassVar

from harness.cells.base import Cell


class PeepholeLSTM(Cell):
    """LSTM with peepholes: i and f also see p c, o also sees p c'; c' = f c + i g, h' = o tanh(c').

    Gers and Schmidhuber, "Recurrent nets that time and count", IJCNN (2000), with tanh on the output as in
    Graves, arXiv:1308.0850.
    """

    forget_bias: float = 1.0
    """Start of the forget gate's input bias, as in the plain LSTM."""

    gates: ClassVar = 4
    states: ClassVar = ("h", "c")
    starts: ClassVar = ("forget_bias",)
    paper: ClassVar = "doi:10.1109/IJCNN.2000.861302"

    def weights(self, hidden):
        return {**super().weights(hidden), "peephole": (3 * hidden,)}

    def start(self, name, hidden):
        return (None, self.forget_bias, None, None) if name == "bias_ih" else None

    def step(self, w, wx_BG, state):
        h_BH, c_BH = state
        i, f, g, o = (wx_BG + h_BH @ w.weight_hh.mT + w.bias_hh).chunk(4, -1)
        pi, pf, po = w.peephole.chunk(3, -1)
        c_BH = (f + pf * c_BH).sigmoid() * c_BH + (i + pi * c_BH).sigmoid() * g.tanh()
        h_BH = (o + po * c_BH).sigmoid() * c_BH.tanh()
        return h_BH, (h_BH, c_BH)
