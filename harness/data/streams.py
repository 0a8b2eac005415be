"""Streams: long documents read side by side, window by window, with the state carried from batch to batch.

Each row of a split is a document: inputs (N, T, ...), targets aligned with them, lengths (N,). It is read in segments:

    one document     as many equal contiguous pieces as there are streams, one for each
    many documents   each whole, from one queue, shuffled for each pass; a stream that is done takes the next of it

A batch is one window of every stream: `stride` (k1) fresh steps, whose targets are due, behind up to length - stride
(k2 - k1) steps of look-back, whose targets are not (Williams and Peng, Neural Computation 2, 1990). A segment starts at
a window's start, so its last window is shorter and padded beside longer ones. `Batch.resets` marks the streams that
start a segment; `Batch.advance` is the step at which the next batch begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from harness.data.batches import Batch, tensors
from harness.errors import Fault, UserError
from harness.tasks.base import Examples

IDLE = -1  # reads nothing: the queue is empty


@dataclass(frozen=True)
class _Window:
    """What each stream reads next, in steps of its document: [first, fresh) looks back, [fresh, stop) is due."""

    row_B: np.ndarray
    first_B: np.ndarray
    fresh_B: np.ndarray
    stop_B: np.ndarray
    new_B: np.ndarray
    advance: int | None

    def gather(self, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the window's steps of (N, T, ...) as (B, T, ...), and those steps (B, T) in the document."""
        at_BT = self.first_B[:, None] + np.arange((self.stop_B - self.first_B).max())
        return array[self.row_B[:, None], np.minimum(at_BT, array.shape[1] - 1)], at_BT

    def targets(self, examples: Examples) -> tuple[np.ndarray, np.ndarray]:
        """Return targets (B, T, ...), -100 or NaN where nothing is due, and whether something is (B, T)."""
        targets, at_BT = self.gather(examples.targets)
        targets[(at_BT < self.fresh_B[:, None]) | (at_BT >= self.stop_B[:, None])] = _missing(targets)
        return targets, _due(targets)

    def batch(self, examples: Examples, most: int) -> tuple[Batch, int]:
        """Return the batch and how many of its steps are due: the first `most`, step by step over all streams."""
        import torch

        inputs, at_BT = self.gather(examples.inputs)
        inputs[at_BT >= self.stop_B[:, None]] = 0
        targets, due_BT = self.targets(examples)
        steps, count, advance = inputs.shape[1], int(due_BT.sum()), self.advance
        if count > most:
            advance = None  # nothing follows, and what is left may be shorter than that
            late_BT = (due_BT.T.ravel().cumsum() > most).reshape(due_BT.T.shape).T
            targets[late_BT] = _missing(targets)
            steps, count = int(np.flatnonzero((due_BT & ~late_BT).any(0))[-1]) + 1, most
        lengths = (self.stop_B - self.first_B).clip(1, steps)
        x, y, n = tensors(inputs[:, :steps], targets[:, :steps], lengths, examples.scale)
        return Batch(x, y, n, torch.from_numpy(self.new_B), advance), count


def _missing(targets: np.ndarray) -> float:
    return np.nan if np.issubdtype(targets.dtype, np.floating) else -100


def _due(targets: np.ndarray) -> np.ndarray:
    """Whether something is due at each step (B, T)."""
    due = ~np.isnan(targets) if np.issubdtype(targets.dtype, np.floating) else targets != -100
    return due.reshape(*due.shape[:2], -1).any(-1)


class _Reader:
    """Where each stream stands: which place of the queue it reads, and how far it is."""

    def __init__(
        self, segments: np.ndarray, streams: int, length: int, stride: int, endless: bool, seed: int | None
    ) -> None:
        """`segments` (S, 3): row, start and stop. The queue is one pass, or `endless`; a `seed` shuffles each pass."""
        self.segments, self.endless, self.seed = segments, endless, seed
        self.stride, self.back = stride, length - stride
        self._order: tuple[int, np.ndarray] = IDLE, np.arange(len(segments))
        self.head = 0  # of the queue
        self.place_B, self.offset_B = np.full(streams, IDLE), np.zeros(streams, np.int64)
        self.segment_B3 = np.zeros((streams, 3), np.int64)
        self._take(range(streams))

    @property
    def over(self) -> bool:
        """Whether nothing is left to read."""
        return bool((self.place_B == IDLE).all())

    def read(self) -> _Window:
        """Return the next window of every stream and move on behind it."""
        row_B, start_B, stop_B = self.segment_B3.T.copy()
        fresh_B = start_B + self.offset_B
        first_B, new_B = np.maximum(start_B, fresh_B - self.back), (self.offset_B == 0) & (self.place_B != IDLE)
        stop_B = np.minimum(fresh_B + self.stride, stop_B)
        self.offset_B += self.stride
        done = np.flatnonzero((stop_B == self.segment_B3[:, 2]) & (self.place_B != IDLE))
        go_on = self.back and not len(done)  # with look-back, all streams are done together
        advance = int(max(start_B[0], fresh_B[0] + self.stride - self.back) - first_B[0]) if go_on else None
        self._take(done)
        return _Window(row_B, first_B, fresh_B, stop_B, new_B, advance)

    def _take(self, streams: Any) -> None:
        """Give these streams the next segments of the queue."""
        for stream in streams:
            more = self.endless or self.head < len(self.segments)
            self.place_B[stream], self.offset_B[stream] = self.head if more else IDLE, 0
            self.segment_B3[stream] = self._segment(self.head) if more else 0
            self.head += 1

    def _segment(self, place: int) -> np.ndarray:
        number, index = divmod(place, len(self.segments))
        if self.seed is not None and self._order[0] != number:
            self._order = number, np.random.default_rng([self.seed, number]).permutation(len(self.segments))
        return self.segments[self._order[1][index]]

    def state_dict(self) -> dict[str, Any]:
        """Return where all streams stand."""
        return {"head": self.head, "place": self.place_B.tolist(), "offset": self.offset_B.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stand there again."""
        self.head = state["head"]
        self.place_B, self.offset_B = np.array(state["place"]), np.array(state["offset"])
        self.segment_B3 = np.array([self._segment(place) for place in self.place_B])


class StreamBatches:
    """Every update of a trial on a stream task: passes over the training split, until `budget_tokens` steps were due.

    The last batch is cut so that the count is exact. Of one document, the steps that do not divide by the streams
    are left out of every pass (`dropped`), and its order depends on nothing; that of many, on the seed.
    """

    def __init__(
        self, examples: Examples, streams: int, length: int, stride: int, seed: int, budget_tokens: int
    ) -> None:
        self.examples, self.streams, self.budget = examples, streams, budget_tokens
        self.segments, self.dropped = self._segments()
        if len(examples) > 1 and stride < length:
            what = f"bptt_stride: {stride} of {length} steps would look back from one document into another"
            allowed = f"bptt_length ({length}), for a training split of {len(examples)} documents"
            raise UserError(Fault(what, allowed=allowed, remedy="bptt_stride: null"))
        if not examples.digest and not _due(examples.targets).any():
            raise UserError("the training split has no target that is due")
        self._settings = (streams, length, stride, True, seed if len(examples) > 1 else None)
        self._start()

    def _segments(self) -> tuple[np.ndarray, int]:
        lengths = self.examples.lengths
        if len(lengths) != 1:
            return _whole(lengths), 0
        piece = int(lengths[0]) // self.streams
        if not piece:
            what = f"batch_size: {self.streams} streams of a document of {lengths[0]} steps"
            raise UserError(Fault(what, allowed=f"1 to {lengths[0]}", remedy=f"batch_size: {lengths[0]}"))
        return _pieces(piece, self.streams, piece * self.streams), int(lengths[0]) - piece * self.streams

    def _start(self) -> None:
        self.reader, self.handed = _Reader(self.segments, *self._settings), 0

    @cached_property
    def _batches(self) -> int:
        reader, due, count = _Reader(self.segments, *self._settings), 0, 0
        while due < self.budget:
            due += int(reader.read().targets(self.examples)[1].sum())
            count += 1
        return count

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[Batch]:
        while self.handed < self.budget:
            batch, count = self.reader.read().batch(self.examples, self.budget - self.handed)
            self.handed += count
            yield batch
        self._start()

    def state_dict(self) -> dict[str, Any]:
        """Return where each stream stands, for a checkpoint."""
        return {"handed": self.handed, **self.reader.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.handed = state["handed"]
        self.reader.load_state_dict(state)


class EvalStreams:
    """One pass over a split, in order, in which each token is scored once, with the state carried all the way.

    One document is cut into pieces, nothing dropped, and each piece starts from the zero state. So a score depends on
    the number of streams only by these cold starts: more streams, more tokens without their past.
    """

    def __init__(self, examples: Examples, streams: int, length: int) -> None:
        self.examples, lengths = examples, examples.lengths
        one = len(lengths) == 1
        self.segments = _pieces(-(-int(lengths[0]) // streams), streams, int(lengths[0])) if one else _whole(lengths)
        self._settings = (min(streams, len(self.segments)), length, length, False, None)

    @cached_property
    def _batches(self) -> int:
        return sum(1 for _ in self._windows())

    def __len__(self) -> int:
        return self._batches

    def _windows(self) -> Iterator[_Window]:
        reader = _Reader(self.segments, *self._settings)
        while not reader.over:
            yield reader.read()

    def __iter__(self) -> Iterator[Batch]:
        for window in self._windows():
            yield window.batch(self.examples, self.examples.targets.size)[0]


def _pieces(piece: int, streams: int, stop: int) -> np.ndarray:
    """Cut [0, stop) of row 0 into segments of `piece` steps, the last one shorter."""
    starts = np.arange(0, stop, piece)[:streams]
    return np.stack([np.zeros_like(starts), starts, np.minimum(starts + piece, stop)], 1)


def _whole(lengths: np.ndarray) -> np.ndarray:
    """A segment for each document that is not empty."""
    rows = np.flatnonzero(lengths)
    return np.stack([rows, np.zeros_like(rows), lengths[rows]], 1)
