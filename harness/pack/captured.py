"""Updates of a pack as CUDA graphs: all that the GPU does in one is launched at once, by one call of the host.

The first update of a shape is made as ever, which warms up what is compiled or chosen at a first call; the second is
made and recorded (`torch.cuda.graph`), and from then on it is repeated. Before a recording is trusted it makes the
update that was just made without it, from the same memory; where they differ, or where something in it cannot be
recorded, one warning says so and the pack goes on without. What cannot be one recording is made as ever: `update` says
None. `torch.cuda.make_graphed_callables` records a forward and a backward pass; here clips and steps belong to it too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from harness.data.batches import Batch
from harness.errors import out_of_memory
from harness.models.base import Windows
from harness.pack.fixed import Done, Fixed
from harness.pack.merged import merged
from harness.pack.stacked import Stacked

MOST = 4
"""Shapes that are recorded; each holds the memory of an update."""
WITHIN = {torch.float32: 1e-4, torch.float64: 1e-9}
"""How near a recording comes, of the largest number of each matrix: a library may choose another kernel for it."""
CAPTURED = "captured"

Run = Callable[[], None]


class Graphs(ABC):
    """What records work on a device and repeats it."""

    @abstractmethod
    def apart(self, run: Run) -> None:
        """Do the work, where it may be recorded next."""

    @abstractmethod
    def record(self, run: Run) -> Run:
        """Return what repeats the work, upon the same memory. Recording may do the work or not."""


class CudaGraphs(Graphs):
    """On an NVIDIA GPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def apart(self, run: Run) -> None:
        """On a stream of its own, as a recording is: what is set up at a first call is set up for such a one."""
        with torch.cuda.device(self.device):
            aside, here = torch.cuda.Stream(), torch.cuda.current_stream()
            aside.wait_stream(here)
            with torch.cuda.stream(aside):
                run()
            here.wait_stream(aside)

    def record(self, run: Run) -> Run:
        """With a pool of memory of its own; other threads may use the GPU meanwhile."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
            run()
        return graph.replay


def graphs_of(device: torch.device) -> Graphs | None:
    """What records on a device; None where nothing does."""
    return CudaGraphs(device) if device.type == "cuda" else None


class Captured:
    """Makes the updates of a pack that can be recorded, and counts in `ran` how each was made."""

    def __init__(self, stacked: Stacked, windows: Windows, graphs: Graphs, ran: Counter[str]) -> None:
        self.stacked, self.windows, self.graphs, self.ran = stacked, windows, graphs, ran
        self.known: dict[tuple[object, ...], tuple[Fixed, Run | None]] = {}
        self.refused = _never(stacked)

    def update(self, batches: Sequence[Batch], rates: Sequence[float], watch: bool) -> Done | None:
        """Make one update of every trial over batches on the host; None, and nothing changed, where it is not one that
        can be recorded."""
        batch, why = None, "a probe looks into it" if watch else self.refused
        if not why:
            batch = merged(batches, self.stacked.blocks[0].model.each_step, self.windows)
            why = self._not_now(batch)
        if why or batch is None:
            self.ran[why] += 1
            return None
        try:
            return self._made(batch, rates)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            self.refused = "there was no memory for it"
        self.known.clear()  # outside of `except`, where the failed pass is still held
        self.ran[self.refused] += 1
        return None

    def _not_now(self, batch: Batch | None) -> str:
        """Why an update over these batches is not recorded; "" where it can be."""
        if batch is None:
            return "batches of unlike shapes"
        if len(self.stacked.blocks) > 1:
            return "memory holds fewer trials at once"
        if int(batch.lengths.min()) < batch.inputs.shape[1]:
            return "sequences that differ in length"
        return "" if _key(batch) in self.known or len(self.known) < MOST else "batches of too many shapes"

    def _made(self, batch: Batch, rates: Sequence[float]) -> Done:
        key = _key(batch)
        first = key not in self.known
        fixed, replay = self.known.get(key) or (Fixed(self.stacked, batch, self.windows), None)
        fixed.load(batch, rates)
        if replay is not None:
            replay()
        elif first:
            self.graphs.apart(fixed.run)
        else:
            replay = self._recorded(fixed)
        self.known[key] = fixed, replay
        self.ran[self.refused or (CAPTURED if replay is not None else "the first of its shape")] += 1
        return fixed.done()

    def _recorded(self, fixed: Fixed) -> Run | None:
        """Make an update, and record it; return what repeats it, None where that comes to something else."""
        before = [part.clone() for part in fixed.memory()]
        self.graphs.apart(fixed.run)
        wanted = [part.clone() for part in fixed.memory()]
        try:
            replay = self.graphs.record(fixed.run)
            _put(fixed, before)
            replay()
            far = max(off(one, other) for one, other in zip(fixed.memory(), wanted, strict=True))
            what = f"a recorded update is off by {far:.1e}" if far > WITHIN[fixed.grads_KN.dtype] else ""
        except RuntimeError as error:
            if out_of_memory(error):
                _put(fixed, before)
                raise
            what = f"an update cannot be recorded: {str(error).splitlines()[0]}"
        if not what:
            return replay
        _put(fixed, wanted)
        print(f"warning: {what}; a pack of {len(self.stacked.modules)} trials goes on without a CUDA graph", flush=True)
        self.refused = what.split(":")[0]
        return None


def how(ran: Counter[str]) -> str:
    """What a record says of how the updates of its pack were made, "" where no GPU could have recorded them."""
    if not ran:
        return ""
    return f", {CAPTURED}" if ran[CAPTURED] else f", not captured: {ran.most_common(1)[0][0]}"


def _never(stacked: Stacked) -> str:
    """Why no update of these trials is recorded; "" where they can be."""
    if stacked.drops:
        return "each trial draws its own dropout"
    return "a rectified cell looks for padding" if stacked.blocks[0].model.stack.rows[0][0].cell.rectified else ""


def _key(batch: Batch) -> tuple[object, ...]:
    """What decides which operations an update has."""
    anew = batch.resets is not None and bool(batch.resets.all())
    return batch.inputs.shape, batch.targets.shape, batch.advance, anew


def _put(fixed: Fixed, kept: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for place, value in zip(fixed.memory(), kept, strict=True):
            place.copy_(value)


def off(one: Tensor, other: Tensor) -> float:
    """The largest difference, of the largest finite number; infinite where other numbers are not finite."""
    finite = other.isfinite()
    if not torch.equal(one.isfinite(), finite):
        return float("inf")
    largest = other.where(finite, 0).abs().max().clamp(min=1e-30)
    return float((one - other).where(finite, 0).abs().max() / largest)
