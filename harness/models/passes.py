"""How a model of sequences goes through a batch to be trained on it: window by window, or all at once.

Shape legend: see harness/cells/base.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.data.batches import Batch
from harness.models.base import Loss, Profile, Windows
from harness.models.by_lag import Look
from harness.models.layer import Mark
from harness.models.objectives import missing
from harness.models.ragged import unroll
from harness.models.stack import StackState
from harness.models.unroll import cut, leaf, plan, sizes

if TYPE_CHECKING:
    from harness.models.sequence import SequenceModel

Parts = Iterator[tuple[Tensor, Callable[[], Profile] | None]]
"""Losses to be differentiated one after the other; each with what tells its gradient by lag, once that is done, if it
is watched."""


def by_window(model: SequenceModel, batch: Batch, loss_of: Loss, windows: Windows, mean_over: int = 0) -> Parts:
    """Yield the loss of each window and, of the watched one, its gradient by lag. `mean_over`: what goes back is the
    loss over so many, down to every leaf; if those are the answers that are watched, no pass is made for watching."""
    steps = batch.inputs.shape[1]
    cuts = plan(steps, windows, due_at_end=not model.each_step)
    known = {0: model.first_states(batch)}
    if batch.resets is not None:
        model.began = known[0]
    keep = {edge for begin, fresh, _ in cuts for edge in (begin, fresh)} | {model.go_on_at(batch)}
    watched, look = _look(model, batch, cuts) if windows.watch else (0, None)
    how = (windows.scale, windows.trials)
    ends = set(batch.full.lengths.tolist())  # of all workers, so that each goes back over the same windows
    for begin, fresh, stop in cuts:
        # no loss is due where no sequence ends, so no gradient can come from there
        silent = not model.each_step and not any(fresh < end <= stop for end in ends)
        begin, seen = fresh if silent else begin, look if stop == watched else None
        if windows.begins is not None:
            windows.begins(begin)
        start = leaf(known[begin]) if seen else cut(known[begin])
        parts = sizes(begin, stop, keep | {begin + edge for edge in (seen.edges if seen else ())})
        whole = stop - begin == steps
        lengths = batch.lengths if whole else (batch.lengths - begin).clamp(0, stop - begin)
        with torch.no_grad() if silent else nullcontext():
            x_BTD = model.encode(batch.inputs if whole else batch.inputs[:, begin:stop])
            out_BTH, _, marks = model.stack(x_BTD, start, lengths, parts)
        if stop < steps or batch.resets is not None:  # something goes on from here
            known |= _states_at(marks, begin)
        if silent:
            continue
        if fresh > begin:  # a slice of everything would cost its backward pass a copy
            out_BTH = out_BTH[:, fresh - begin :]
        ends_B = seen.ends_B - (fresh - begin) if seen else None
        loss, last = model.losses(out_BTH, batch, fresh, stop, ends == {steps} and stop == steps, loss_of, ends_B)
        begun = [{0: state} for state in start]
        if seen and not model.each_step and mean_over == int((seen.ends_B > 0).sum()):
            yield loss, seen.listen(marks, begun, windows.scale)
        else:
            yield loss, _told(seen.read(last, marks, begun, *how)) if seen else None
    model.carry(batch, known)


def at_once(model: SequenceModel, batch: Batch, loss_of: Loss, windows: Windows) -> Parts:
    """Yield the loss of the whole and, if it is watched, its gradient by lag."""
    steps, start = batch.inputs.shape[1], model.stack.zero_state(len(batch.inputs))
    cuts = [begin for begin, _, _ in plan(steps, windows, due_at_end=not model.each_step)][1:]
    ends_B = _ends(model, batch.full, 0, steps)
    look = Look.back_to(cuts, ends_B, batch) if windows.watch and bool(ends_B.any()) else None
    start, edges = (leaf(start), look.edges) if look else (start, set())
    run = unroll(model.stack, model.encode(batch.inputs), start, batch.lengths, edges, cuts, bool(look), ends=False)
    whole = set(batch.full.lengths.tolist()) == {steps}
    loss, last = model.losses(run.output_BTH, batch, 0, steps, whole, loss_of, look.ends_B if look else None)
    yield loss, _told(look.read(last, run.marks, run.begun, windows.scale, windows.trials)) if look else None


def _told(profile: Profile) -> Callable[[], Profile]:
    return lambda: profile


def _ends(model: SequenceModel, batch: Batch, fresh: int, stop: int) -> Tensor:
    """Steps to the last answer of each sequence that is due in [fresh, stop) (B,); 0 where none is."""
    if model.over_steps is not None or not model.each_step:
        return batch.lengths.where((batch.lengths > fresh) & (batch.lengths <= stop), 0)
    due_BT = ~missing(batch.targets[:, fresh:stop]).reshape(len(batch.targets), stop - fresh, -1).all(2)
    return (due_BT * torch.arange(fresh + 1, stop + 1, device=due_BT.device)).amax(1)


def _look(model: SequenceModel, batch: Batch, cuts: list[tuple[int, int, int]]) -> tuple[int, Look | None]:
    """Where the window stops that is watched, and what of it."""
    for begin, fresh, stop in sorted(cuts, key=lambda window: (window[2] - window[0], window[2]), reverse=True):
        ends_B = _ends(model, batch.full, fresh, stop)
        if bool(ends_B.any()):
            return stop, Look.back_to([], (ends_B - begin).clamp(min=0), batch)
    return 0, None


def _states_at(marks: list[list[Mark]], begin: int) -> dict[int, StackState]:
    """States by time step, from the marks of a unidirectional stack that started at `begin`."""
    if not marks[0]:
        return {}
    found = [{begin + m.step: (m.output_BPH[:, -1], *m.others) for m in layer} for layer in marks]
    return {step: [layer[step] for layer in found] for step in found[0]}
