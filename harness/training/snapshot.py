"""All that a trial has become between two updates, as plain data: with it, and with the trial, it goes on bit for bit.

    module       weights, the best so far on the validation split, the state that streams carry, the scale of a float16
                 loss, updates made (the position of a schedule follows)
    optimizer    its moments and step counts
    loader       the data cursor: examples handed out, or where each stream stands; the order follows from the seed
    probes       what each has seen: losses, norms and clip statistics, the learning curve, times
    generators   torch's, of the CPU and of each GPU
    others       of several workers, what differs between them: the state that streams carry, and generators

Nothing draws from another generator: Python's and NumPy's global ones are left alone, in training as here, because Ray
takes identifiers from them that must differ between processes (tests/units/test_keeper.py holds training to it).
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from harness.data.batches import TrainBatches
from harness.data.streams import StreamBatches
from harness.probes.base import Probe
from harness.training.module import RecurrentModule


@dataclass(frozen=True)
class Course:
    """What changes while a trial trains. The optimiser is Lightning's to make, and given to the methods."""

    module: RecurrentModule
    loader: TrainBatches | StreamBatches
    probes: Sequence[Probe]

    @property
    def code(self) -> str:
        """Hash of the source that trains this trial: a checkpoint is not gone on from by other code. A new cell, task,
        reader or report beside it is not other code."""
        trial = self.module.trial
        lines = [*type(trial.build_cell()).__mro__, *type(trial.build_task()).__mro__]
        own = {inspect.getfile(kind) for kind in lines if kind.__module__.startswith("harness.")}
        return hashlib.sha256(b"".join([_trainer(), *map(_source, sorted(own))])).hexdigest()[:12]

    def state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Return everything, to be written before the next update. Every worker of a trial must call this."""
        module = self.module.state()
        own = {"carried": module["carried"], "generators": generators(self.module.generator)}
        return {
            "module": module,
            "optimizer": optimizer.state_dict(),
            "loader": self.loader.state_dict(),
            "probes": {type(probe).__name__: probe.state() for probe in self.probes},
            "generators": own["generators"],
            "others": self.module.workers.all(own)[1:],
        }

    def load_state(self, state: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
        """Go on from there. Raises KeyError, ValueError, RuntimeError or TypeError where it does not fit."""
        names = {type(probe).__name__ for probe in self.probes}
        if state["probes"].keys() != names:
            raise KeyError(f"probes {', '.join(sorted(names))}, not {', '.join(sorted(state['probes']))}")
        workers = self.module.workers
        if len(state["others"]) != workers.count - 1:
            raise ValueError(f"it is of {len(state['others']) + 1} workers, not {workers.count}")
        own = [state["module"] | {"generators": state["generators"]}, *state["others"]][workers.rank]
        self.module.load_state(state["module"] | {"carried": own["carried"]})
        optimizer.load_state_dict(state["optimizer"])
        self.loader.load_state_dict(state["loader"])
        for probe in self.probes:
            probe.load_state(state["probes"][type(probe).__name__])
        set_generators(own["generators"], self.module.generator)  # last: nothing draws between this and the next update


@cache  # what a process runs is what it read at first
def _source(file: str) -> bytes:
    return Path(file).read_bytes()


@cache
def _trainer() -> bytes:
    """Hash of the parts that train every trial."""
    package, found = Path(__file__).parents[1], hashlib.sha256()
    own = (f"training/{name}.py" for name in ("module", "snapshot", "workers", "controlled"))
    for part in ("engine.py", *own, "data", "models", "pack", "probes"):
        for path in [package / part] if part.endswith(".py") else sorted((package / part).glob("*.py")):
            if not path.name.startswith("read_"):  # what a reader makes is named by the hash of the data
                found.update(path.read_bytes())
    return found.digest()


def generators(cpu: torch.Generator) -> dict[str, Any]:
    """Return the state of every generator that training draws from, of CPUs `cpu`."""
    return {"cpu": cpu.get_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []}


def set_generators(state: dict[str, Any], cpu: torch.Generator) -> None:
    """Set them."""
    cpu.set_state(state["cpu"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
