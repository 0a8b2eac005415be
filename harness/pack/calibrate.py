"""How much faster trials of one shape train packed than one by one: measured (gains.py remembers it).

Both make whole updates, optimiser included, on random batches of the shape, or where sequences differ in length on real
ones, for packing pads them to the longest of all trials. They are interleaved A B A B in one process, so that what else
runs on the machine slows both; where a trial has one thread, in time of the CPU; on a GPU by the wall clock, until all
that was launched is done. The median of the ratios counts.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, cycle, repeat

import torch
from torch import Tensor

from harness.data.batches import Batch
from harness.engine import begin
from harness.models.base import Windows
from harness.pack.captured import CAPTURED, Captured, Graphs, how
from harness.pack.stacked import Stacked
from harness.training.controlled import controlled
from harness.training.module import RecurrentModule
from harness.training.workers import Workers
from harness.trial import Trial

ROUNDS, SECONDS = 12, 1.0
"""At most so many rounds of a measurement, and no new one after so long."""


def regular(trial: Trial) -> bool:
    """Return whether all sequences, or of streams the documents, are of one length, so that the batches of all trials
    always have one shape."""
    lengths = trial.build_task().load("train", trial.seed).lengths
    return bool(lengths.min() == lengths.max())


@dataclass
class Measured:
    """Seconds of one update: of `size` trials one by one, of all of them packed, and packed from a recording where
    that was asked for, in each round."""

    alone: list[float] = field(default_factory=list)
    packed: list[float] = field(default_factory=list)
    captured: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """How many times as fast, in each round."""
        return [a / b for a, b in zip(self.alone, self.packed, strict=True)]


def measure(
    trial: Trial,
    size: int,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    device: str = "cpu",
    graphs: Graphs | None = None,
) -> Measured:
    """Make updates each way, interleaved; the first round, which warms up, is left out. With `graphs` also from a
    recording, of which the first two rounds are made otherwise and left out; raises RuntimeError where none is made."""
    trial, found, workers = trial.normalised(), Measured(), Workers(device=device)
    with controlled(trial):
        one = _module(trial, workers)
        optimizer, modules = one.configure_optimizers(), [_module(trial, workers) for _ in range(size)]
        stacked = Stacked(modules, [module.configure_optimizers() for module in modules])
        ran, rates = Counter[str](), [trial.learning_rate] * size
        captured = Captured(stacked, _windows(trial), graphs, ran) if graphs else None
        clock, start = _clock(trial, device), math.inf
        for given in _batches(trial, size):
            start = min(start, time.perf_counter())  # not before the first batches are there
            if found.packed and (len(found.packed) > rounds or time.perf_counter() - start >= seconds):
                break
            batches = [one.transfer_batch_to_device(batch, workers.device, 0) for batch in given]
            marks = [clock()]
            few = _alone(one, optimizer, batches)
            marks.append(clock())
            _packed(stacked, batches)
            marks.append(clock())
            found.alone.append((marks[1] - marks[0]) * size / few)
            found.packed.append(marks[2] - marks[1])
            if captured is not None:
                captured.update(given, rates, watch=False)
                found.captured.append(clock() - marks[2])
    if captured is not None and not ran[CAPTURED]:
        raise RuntimeError(f"no update was made from a recording: {how(ran)}")
    warming = 2 if captured else 1
    begin_at = warming if len(found.packed) > warming else 0
    return Measured(found.alone[begin_at:], found.packed[begin_at:], found.captured[begin_at:])


def _batches(trial: Trial, size: int) -> Iterator[Sequence[Batch]]:
    """One batch for each trial, round after round."""
    if regular(trial):
        yield from repeat([_batch(trial, k) for k in range(size)])
    loaders = [begin(trial.model_copy(update={"seed": trial.seed + k})).course.loader for k in range(size)]
    yield from zip(*(chain.from_iterable(cycle([loader])) for loader in loaders), strict=True)


def _clock(trial: Trial, device: str) -> Callable[[], float]:
    def after_all() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    if device != "cpu":
        return after_all
    return time.process_time if trial.threads == 1 else time.perf_counter


def _module(trial: Trial, workers: Workers) -> RecurrentModule:
    return RecurrentModule(trial, trial.build_task(), trial.build_cell(), workers).to(workers.device)


def _alone(module: RecurrentModule, optimizer: torch.optim.Optimizer, batches: Sequence[Batch]) -> int:
    """Make some updates of one trial; return how many."""
    few = batches[: max(2, len(batches) // 4)]
    for batch in few:
        module.look_back(batch, Tensor.backward, optimizer)
        optimizer.step()
    return len(few)


def _windows(trial: Trial) -> Windows:
    reach = (None, None) if trial.build_task().stream else (trial.bptt_length, trial.bptt_stride)
    return Windows(*reach, watch=False)


def _packed(stacked: Stacked, batches: Sequence[Batch]) -> None:
    """Make one update of every trial."""
    trial = stacked.modules[0].trial
    found = stacked.gradient(batches, _windows(trial))
    assert found is not None
    found.grads_KN.mul_(1 / (1 + found.grads_KN.norm(dim=1, keepdim=True)))
    stacked.step({k: trial.learning_rate for k in range(len(batches))}, found.grads_KN)


def _batch(trial: Trial, seed: int) -> Batch:
    """A batch of random numbers that has the shape of the trial's."""
    task, generator = trial.build_task(), torch.Generator().manual_seed(seed)
    shape, rows = task.shape, trial.batch_size
    steps = (trial.bptt_length or shape.steps) if task.stream else shape.steps
    columns = (shape.columns,) if shape.columns > 1 else ()
    if shape.vocabulary:
        inputs = torch.randint(shape.vocabulary, (rows, steps, *columns), generator=generator)
    else:
        inputs = torch.randn(rows, steps, shape.features, generator=generator)
    answers = (rows, steps) if task.mapping == "many-to-many" else (rows,)
    if task.objective == "cross-entropy":
        targets = torch.randint(shape.outputs, answers, generator=generator)
    else:
        targets = torch.rand(*answers, shape.outputs, generator=generator)
    resets = torch.zeros(rows, dtype=torch.bool) if task.stream else None
    return Batch(inputs, targets, torch.full((rows,), steps), resets)
