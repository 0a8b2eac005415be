"""Long short-term memory with layer normalisation."""

from typing import ClassVar

from harness.cells.base import Cell


class LayerNormLSTM(Cell):
    """LSTM with N(W x), N(U h) and N(c') in place of W x, U h and c'; N(v) = gain (v - mean) / deviation.

    Ba, Kiros, Hinton, "Layer normalization", arXiv:1607.06450, equations 20 to 22. The means are over the 4H
    pre-activations, and over H for c. The three shifts that are added up there are one here, bias_hh.
    """

    forget_bias: float = 1.0
    """Start of the forget gate's shift, as in the plain LSTM."""

    gates: ClassVar = 4
    states: ClassVar = ("h", "c")
    starts: ClassVar = ("forget_bias",)
    paper: ClassVar = "arXiv:1607.06450"

    def weights(self, hidden):
        gains = {"gain_ih": (4 * hidden,), "gain_hh": (4 * hidden,), "gain_c": (hidden,), "bias_c": (hidden,)}
        return {**super().weights(hidden), **gains}

    def start(self, name, hidden):
        shifts = {"bias_ih": 0.0, "bias_hh": (0.0, self.forget_bias, 0.0, 0.0), "bias_c": 0.0}
        return 1.0 if name.startswith("gain") else shifts.get(name)

    def step(self, w, wx_BG, state):
        h_BH, c_BH = state
        pre_BG = normed(wx_BG, w.gain_ih) + normed(h_BH @ w.weight_hh.mT, w.gain_hh) + w.bias_hh
        i, f, g, o = pre_BG.chunk(4, -1)
        c_BH = f.sigmoid() * c_BH + i.sigmoid() * g.tanh()
        h_BH = o.sigmoid() * (normed(c_BH, w.gain_c) + w.bias_c).tanh()
        return h_BH, (h_BH, c_BH)


def normed(v, gain):
    """Mean 0 and variance 1 over the last axis, times a gain; 1e-5 keeps a constant vector finite."""
    wide = v.float() if v.element_size() == 2 else v  # float16 does not hold the slope at a constant vector, 1e-5^-1.5
    wide = wide - wide.mean(-1, keepdim=True)
    return (wide * (wide.square().mean(-1, keepdim=True) + 1e-5).rsqrt()).to(gain.dtype) * gain
