"""Lightning's evaluations in the middle of training, on the clock of `spent.py`."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from harness.spent import CLOCK


class Clocked(pl.Callback):
    """Tells validation from training. What ends an evaluation early ends training too, and its phase with it."""

    def on_validation_start(self, *_: Any) -> None:
        """From now on it is evaluated."""
        CLOCK.enter("evaluate")

    def on_validation_end(self, *_: Any) -> None:
        """And trained again."""
        CLOCK.leave()
