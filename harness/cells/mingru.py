"""The minimal GRU, whose steps can be computed all at once."""

from typing import ClassVar

from harness.cells.base import LinearCell


class MinGRU(LinearCell):
    """Minimal GRU: z = s(W x + b), h' = (1 - z) h + z (W' x + b'); the gate sees the input only.

    Feng et al., "Were RNNs all we needed?", arXiv:2410.01201, section 3.1. No recurrent matrix: what h remembers
    is an average of past candidates, and order shows only through the weights of that average.
    """

    gates: ClassVar = 2
    paper: ClassVar = "arXiv:2410.01201"

    def linear(self, w, wx_BTG):
        z, new_BTH = wx_BTG.chunk(2, -1)
        return (-z).sigmoid(), z.sigmoid() * new_BTH  # 1 - s(z) = s(-z), exact also where z is large
