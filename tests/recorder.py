"""What a CUDA graph does, without a GPU: operations recorded once, and repeated upon the same memory without Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.pack.captured import Graphs

REFUSED = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape, torch.Tag.nondeterministic_seeded)
"""torch's own marks of operations that read a number, whose shape hangs on one, or that draw: the first two wait for a
GPU, and a recording would draw from another place."""
FROM_HOST = {"aten::lift_fresh", "aten::record_stream", "aten::pin_memory", "aten::equal"}


def tensors(of: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(of) if isinstance(leaf, Tensor)]


def fault(func: Any, args: Any, kwargs: Any, out: Any) -> str:
    """Why a CUDA graph could not hold this operation; "" where it can."""
    name, devices = func._schema.name, {tensor.device for tensor in tensors((args, kwargs, out))}
    if name in FROM_HOST or len(devices) > 1:
        return f"{name} takes something from the host to {sorted(map(str, devices))}"
    if name in ("aten::index", "aten::index_put_", "aten::index_put"):  # marked for masks, which alone are meant
        masks = [each for each in tensors(args[1]) if each.dtype in (torch.bool, torch.uint8)]
        return f"{name} by a mask" if masks else ""
    return f"{func} is {sorted(tag.name for tag in func.tags)}" if {*REFUSED} & {*func.tags} else ""


class Recorder(TorchDispatchMode):
    """Lists all that is done; raises where a CUDA graph could not hold it."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if why := fault(func, args, kwargs, out):
            raise RuntimeError(f"operation not permitted when stream is capturing: {why}")
        self.done.append((func, args, kwargs or {}, out))
        return out

    @torch.no_grad()
    def repeat(self) -> None:
        """Do the same operations again, each from and into the memory that it had."""
        for func, args, kwargs, out in self.done:
            given = {tensor.untyped_storage().data_ptr() for tensor in tensors((args, kwargs))}
            for place, value in zip(tensors(out), tensors(func(*args, **kwargs)), strict=True):
                if place.untyped_storage().data_ptr() not in given:  # neither a view nor written in place
                    place.copy_(value)


class Recorded(Graphs):
    """Stands where a pack on a GPU has CUDA graphs."""

    def __init__(self) -> None:
        self.recordings: list[Recorder] = []

    def apart(self, run: Callable[[], None]) -> None:
        run()

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        self.recordings.append(Recorder())
        with self.recordings[-1]:
            run()
        return self.recordings[-1].repeat
