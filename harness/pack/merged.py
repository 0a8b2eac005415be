"""The batches of K trials as one: rows trial after trial, padded to the longest of all.

Shape legend: see harness/cells/base.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from harness.data.batches import Batch
from harness.models.base import Windows
from harness.models.objectives import IGNORE


def merged(batches: Sequence[Batch], each_step: bool, windows: Windows, drawn: bool = False) -> Batch | None:
    """Return the batches of K trials as one of K * B sequences, all padded to the longest. None where they do not go
    together: windows of streams that differ in shape, and windows that lie where a trial's own batch puts them, or
    masks that are `drawn` for the steps of a trial's own batch, and for its rows where they are answered."""
    first, steps = batches[0], max(b.inputs.shape[1] for b in batches)
    alike = all(_shape(batch) == _shape(first) for batch in batches)
    rows = {(len(b.inputs), b.inputs.shape[2:], b.targets.shape[2:] if each_step else b.targets.shape) for b in batches}
    if not alike and (first.resets is not None or len(rows) > 1):
        return None
    lengths = torch.cat([b.lengths for b in batches])
    if drawn and not (alike and (each_step or int(lengths.min()) == steps)):
        return None
    if each_step:  # counted from the beginning, but for windows that overlap: the last of them begins before the end
        together = alike or windows.stride in (None, windows.length)
    else:  # counted from the end, and in each window a trial has as many answers as end there
        together = windows.length is None or int(lengths.min()) == steps
    if not together:
        return None
    inputs = torch.cat([_padded(b.inputs, steps, 0) for b in batches])
    none = math.nan if first.targets.is_floating_point() else IGNORE
    targets = torch.cat([_padded(b.targets, steps, none) if each_step else b.targets for b in batches])
    resets = None if first.resets is None else torch.cat([b.resets for b in batches if b.resets is not None])
    return Batch(inputs, targets, lengths, resets, first.advance)


def _shape(batch: Batch) -> tuple[torch.Size, torch.Size, int | None]:
    return batch.inputs.shape, batch.targets.shape, batch.advance


def _padded(x_BT: Tensor, steps: int, value: float) -> Tensor:
    short = steps - x_BT.shape[1]
    return torch.cat([x_BT, x_BT.new_full((len(x_BT), short, *x_BT.shape[2:]), value)], 1) if short else x_BT
