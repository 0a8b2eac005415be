"""How much of the gradient is left, so many steps back in time?"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch

from harness.probes.base import Probe, last_update
from harness.stability import decay
from harness.training.module import RecurrentModule


class ThroughTime(Probe):
    """|dL/dstate| by lag, with L the loss at the end of the sequence, on sampled updates.

    Under truncated BPTT only lags inside the window exist: further back training sees no gradient at all.
    Hochreiter (1991); Bengio, Simard, Frasconi, IEEE Trans. Neural Networks 5 (1994).
    """

    kept: ClassVar = ("seen",)

    def __init__(self, trial) -> None:
        super().__init__(trial)
        self.seen: dict[int, list[torch.Tensor]] = {}

    def on_train_batch_start(self, trainer, pl_module: RecurrentModule, batch, batch_idx) -> None:
        """Ask the module to keep the window's boundaries in this update."""
        pl_module.progress.watch = self.samples(pl_module.updates)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        """Keep finite profiles; a non-finite update is reported as a failure, not averaged in."""
        gradient = last_update(pl_module).gradient
        if gradient is not None and bool(gradient[1].isfinite().all()):
            for position, lag in enumerate(gradient[0]):
                self.seen.setdefault(lag, []).append(gradient[1][:, position])

    def observed(self) -> dict[str, Any]:
        """Median over the sampled updates, for each layer and over all layers together."""
        lags = sorted(self.seen)
        if not lags:
            return {}
        by_layer = np.array([torch.stack(self.seen[lag]).median(0).values.tolist() for lag in lags]).T
        over_all = [float(torch.stack(self.seen[lag]).square().sum(1).sqrt().median()) for lag in lags]
        factor, horizon = decay(lags, over_all)
        layers = [decay(lags, norms) for norms in by_layer.tolist()]
        return {
            "gradient_lags": lags,
            "gradient_by_lag": over_all,
            "gradient_by_lag_by_layer": by_layer.tolist(),
            "gradient_decay": factor,
            "gradient_decay_by_layer": [layer.factor for layer in layers],
            "gradient_horizon": horizon,
            "gradient_horizon_by_layer": [layer.horizon for layer in layers],
        }
