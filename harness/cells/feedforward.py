"""The contrast without memory."""

from typing import ClassVar

from harness.cells.base import Cell


class FeedForward(Cell):
    """Feed-forward contrast: h = tanh(W x + b) at each step, nothing carried.

    What it scores is what the task gives away without memory. Read out by the mean over time where one answer
    is due for a sequence, so it sees which inputs came, never in which order (a bag of embeddings).
    """

    gates: ClassVar = 1
    states: ClassVar = ()

    def step(self, w, wx_BG, state):
        return wx_BG.tanh(), ()
