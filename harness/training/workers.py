"""The workers of one trial: processes that each train on their share of every batch and add up what they find.

    g = sum over workers of g_r,    g_r = d/dw [ sum of the losses in worker r's rows / targets due in the whole batch ]

so g is the gradient of one worker on the whole batch, however unlike the shares are, and clipping, update and every
number of the record that follows from them are those of one worker, but for the order in which floats are added.

Lightning's DDP sets up the devices, starts all from the weights of worker 0 and wraps the model; its own reduction
inside the backward pass is left out, and all gradients are added up in one all-reduce after the last window. Of a
recurrent network no gradient of a weight is whole before the backward pass has reached the first step, so there is
nothing that could travel meanwhile; one message an update instead of some for each window also carries the loss, and
what worker 0 asks of the others, so that all act on it at the same update.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from pytorch_lightning.plugins.environments import ClusterEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch import nn

from harness.data.groups import Updates
from harness.data.parts import Batches, Parts
from harness.models.base import Profile

Place = tuple[str, int | None, str]
"""Layer, time step, and what is wrong there."""
NOTHING, SAVE, STOP = 0, 1, 2
"""What worker 0 asks of all at an update: nothing, a checkpoint, a checkpoint and an end."""


class Workers:
    """The workers of a trial as one of them, `rank` of `count`, sees them; alone there is nobody to talk to."""

    def __init__(self, rank: int = 0, count: int = 1, device: str = "cpu") -> None:
        self.rank, self.count, self.device = rank, count, torch.device(device)
        self.says = self.heard = NOTHING
        self.seconds = 0.0  # that the last update waited for other workers and their gradients
        self.own_loss = 0.0  # of the last update, in this worker's rows

    @property
    def several(self) -> bool:
        """Whether there is anybody to talk to."""
        return self.count > 1

    @property
    def hardware(self) -> str:
        """What the record calls the device that this one trains on."""
        return "cpu" if self.device.type == "cpu" else torch.cuda.get_device_name(self.device)

    @property
    def name(self) -> str:
        """How a message begins that is of this one of several."""
        return f"worker {self.rank} of {self.count}: " if self.several else ""

    def seed(self, seed: int) -> int:
        """Return the seed from which this worker drops units: each draws for its own rows. Worker 0 has the trial's."""
        return seed if not self.rank else int(np.random.SeedSequence([seed, self.rank]).generate_state(1)[0])

    def updates(self, batches: Updates) -> Updates:
        """Return what this worker trains on."""
        return Parts(batches, self.rank, self.count) if self.several else batches

    def scored(self, batches: Batches) -> Batches:
        """Return what this worker scores; the scores add up over workers."""
        return Parts(batches, self.rank, self.count, scored=True) if self.several else batches

    def add_up(self, parameters: Sequence[nn.Parameter], loss: float) -> float:
        """Replace every gradient by its sum over workers; return that of the losses. A value that is not finite for one
        is not finite for all, so that all see it at this update. Sets what was `heard`."""
        like, self.own_loss = parameters[0], loss
        given = [float(p.grad is not None) for p in parameters]
        numbers = torch.tensor([loss, float(self.says), *given], dtype=like.dtype, device=like.device)
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([numbers, *(grad.reshape(-1) for grad in grads)])
        begin = time.perf_counter()
        dist.all_reduce(flat)
        numbers, *sums = flat.split([len(numbers), *(p.numel() for p in parameters)])
        loss, heard, *given = numbers.tolist()
        self.seconds, self.heard = time.perf_counter() - begin, int(heard)
        for parameter, total, some in zip(parameters, sums, given, strict=True):
            parameter.grad = total.view_as(parameter) if some else None
        return loss

    def profile(self, own: Profile | None) -> Profile | None:
        """Return the gradient by lag of the whole batch: squares of norms add up, in the order of the workers."""
        found = [each for each in self.all(own) if each is not None]
        return (found[0][0], sum(norms.square() for _, norms in found).sqrt()) if found else None

    def first_bad(self, look: Callable[[], Place | None]) -> Place:
        """Return where the first value that is not finite is. Each worker `look`s at its own rows, if it has any, and
        the first one that finds it there is named; where none does, only the sum is not finite, and all see that."""
        place = look()
        mine = place is not None and (place[1] is not None or not math.isfinite(self.own_loss))
        found = self.all((mine, place))
        for rank, (theirs, at) in enumerate(found):
            if theirs and at is not None and self.several:
                return at[0], at[1], f"worker {rank} of {self.count}: {at[2]}"
        return next(at for _, at in found if at is not None)

    def all(self, own: Any) -> list[Any]:
        """Return what each worker has, in order."""
        if not self.several:
            return [own]
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, own)
        return found

    def first(self, own: Any) -> Any:
        """Return what worker 0 has."""
        if not self.several:
            return own
        found = [own]
        dist.broadcast_object_list(found, 0)
        return found[0]

    def options(self) -> dict[str, Any]:
        """Return what a Lightning Trainer is told of devices and processes."""
        kind = "cpu" if self.device.type == "cpu" else "gpu"
        if not self.several:
            return {"accelerator": kind, "devices": 1}
        return {"accelerator": kind, "devices": 1, "strategy": Strategy(self)}


class Strategy(DDPStrategy):
    """Lightning's DDP in a process group that is there already, on the device that this worker was given."""

    def __init__(self, workers: Workers) -> None:
        super().__init__(cluster_environment=Environment(workers), parallel_devices=[workers.device])
        self._device = workers.device

    @property
    def root_device(self) -> torch.device:
        """The device of this worker."""
        return self._device


class Environment(ClusterEnvironment):
    """What Lightning asks of the place that started the processes: their number and which one this is."""

    creates_processes_externally = True
    main_address, main_port = "", 0  # asked for only to make a group, which is there

    def __init__(self, workers: Workers) -> None:
        super().__init__()
        self._workers = workers

    @staticmethod
    def detect() -> bool:
        """Never guessed: it is given."""
        return False

    def world_size(self) -> int:
        """Workers in all."""
        return self._workers.count

    def global_rank(self) -> int:
        """This worker."""
        return self._workers.rank

    def local_rank(self) -> int:
        """On its machine: the first on a device of its own."""
        return 0

    def node_rank(self) -> int:
        """Its machine: as if each had its own, for the device is given."""
        return self._workers.rank

    def set_world_size(self, size: int) -> None:
        """It is what it is."""

    def set_global_rank(self, rank: int) -> None:
        """It is what it is."""


def severed(error: BaseException) -> bool:
    """Whether an error says no more than that another worker is gone or silent: its cause is to be found there."""
    if isinstance(error, dist.DistError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in ("gloo", "nccl", "process group"))
