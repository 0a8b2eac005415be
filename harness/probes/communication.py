"""How long does a worker wait until the gradients of all workers are added up?"""

from __future__ import annotations

from typing import Any, ClassVar

from harness.probes.base import Probe


class Communication(Probe):
    """Wall time of the all-reduce of each update: until the last worker is there, and until the sum is."""

    kept: ClassVar = ("seconds",)

    def __init__(self, trial) -> None:
        super().__init__(trial)
        self.seconds = 0.0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        """Add what this update took; nothing, where there is one worker."""
        self.seconds += pl_module.workers.seconds

    def observed(self) -> dict[str, Any]:
        """Seconds."""
        return {"communication_seconds": self.seconds}
