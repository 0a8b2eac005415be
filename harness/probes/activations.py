"""How much memory does backpropagation through time need?"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import Any, ClassVar

import torch
from torch.autograd.graph import saved_tensors_hooks

from harness.probes.base import Probe
from harness.training.module import RecurrentModule


class Ledger:
    """Bytes of the storages that are held now, each once, and the most there ever were."""

    def __init__(self) -> None:
        self.holders: Counter[int] = Counter()
        self.now = self.peak = 0

    def take(self, storage: torch.UntypedStorage) -> None:
        """One more holder."""
        self.holders[storage.data_ptr()] += 1
        if self.holders[storage.data_ptr()] == 1:
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)

    def release(self, storage: torch.UntypedStorage) -> None:
        """One holder less."""
        self.holders[storage.data_ptr()] -= 1
        if not self.holders[storage.data_ptr()]:
            self.now -= storage.nbytes()


class Held:
    """A tensor that autograd has saved; tells the ledger when it is let go."""

    def __init__(self, tensor: torch.Tensor, ledger: Ledger) -> None:
        self.tensor, self.ledger = tensor, ledger
        ledger.take(tensor.untyped_storage())

    def __del__(self) -> None:
        self.ledger.release(self.tensor.untyped_storage())


class Activations(Probe):
    """Peak of the bytes that autograd holds for backward in one update, weights left out.

    Counted, not sampled from the process, so it is the same on every run: the memory that grows with the window
    (Williams and Peng 1990: linearly). One update is enough: the first that no other probe looks at, for looking holds
    more (a quarter for an LSTM of 64 steps), or the last of a trial that has none.
    """

    kept: ClassVar = ("peak",)

    def __init__(self, trial) -> None:
        super().__init__(trial)
        self.open = ExitStack()
        self.ledger: Ledger | None = None
        self.peak = 0

    def alone(self, module: RecurrentModule) -> bool:
        """Where it listens."""
        last = module.updates + 1 == module.total_updates
        return not self.peak and (last or not self.samples(module.updates))

    def on_train_batch_start(self, trainer, pl_module: RecurrentModule, batch, batch_idx) -> None:
        """Listen to what autograd saves in this one update."""
        if not self.alone(pl_module):
            return
        weights = {p.untyped_storage().data_ptr() for p in pl_module.parameters()}

        ledger = self.ledger = Ledger()

        def pack(tensor: torch.Tensor) -> Held | torch.Tensor:
            return tensor if tensor.untyped_storage().data_ptr() in weights else Held(tensor, ledger)

        def unpack(held: Held | torch.Tensor) -> torch.Tensor:
            return held.tensor if isinstance(held, Held) else held

        self.open.enter_context(saved_tensors_hooks(pack, unpack))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        """Stop listening."""
        if self.ledger is not None:
            self.open.close()
            self.peak, self.ledger = self.ledger.peak, None

    def observed(self) -> dict[str, Any]:
        """Bytes; 0 where the trial ended before."""
        return {"activation_bytes": self.peak}
