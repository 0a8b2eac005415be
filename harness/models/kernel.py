"""Which kernel ran: seen in the operations that torch dispatched, not guessed from settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from harness.cells.base import Kernel
from harness.data.batches import Batch
from harness.models.base import Model

SEEN = {
    "mkldnn_rnn_layer": "oneDNN fused",
    "_cudnn_rnn": "cuDNN fused",
    "_thnn_fused_lstm_cell": "ATen loop, fused cell",
    "_thnn_fused_gru_cell": "ATen loop, fused cell",
}
UNSEEN: dict[Kernel, str] = {"fused": "ATen loop", "scan": "parallel scan", "loop": "Python loop"}
"""What a layer's own choice means where no operation gives it away."""


class _Operations(TorchDispatchMode):
    """Collects the names of the operations that reach a device."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.halves: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        self.halves |= {a.dtype for a in args if isinstance(a, Tensor)} & {torch.bfloat16, torch.float16}
        return func(*args, **(kwargs or {}))


def kernel_of(model: Model, batches: Iterable[Batch]) -> str:
    """Run one short forward pass, gradient on, and name what unrolled it.

    "oneDNN fused", "cuDNN fused", "ATen loop" (torch's own C++ loop over steps), "parallel scan" (all steps at once),
    "Python loop" (ours), or "batched" for a cell that carries nothing, whose steps are one product; and the dtype of 16
    bits in which products ran, if any did: "oneDNN fused, bfloat16".
    """
    batch = next(iter(batches))
    with _Operations() as seen:
        model.answer(batch)
    unseen = UNSEEN[model.kernel] if model.remembers else "batched"
    kernel = next((kernel for name, kernel in SEEN.items() if name in seen.names), unseen)
    return ", ".join([kernel, *sorted(str(dtype).removeprefix("torch.") for dtype in seen.halves)])
