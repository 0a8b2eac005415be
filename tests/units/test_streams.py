"""Streams: windows add up to the documents, and each token is due once."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.batches import Batch
from harness.data.streams import EvalStreams, StreamBatches
from harness.errors import UserError
from harness.tasks.base import Examples

documents = st.lists(st.integers(0, 30), min_size=2, max_size=7).filter(any)


def numbered(*lengths: int) -> Examples:
    """Documents in which symbol and place can be told from a token: 1000 * row + step."""
    longest = max(lengths)
    inputs, targets = np.zeros((len(lengths), longest), np.int64), np.full((len(lengths), longest), -100)
    for row, length in enumerate(lengths):
        inputs[row, :length] = 1000 * row + np.arange(length)
        targets[row, :length] = inputs[row, :length] + 1
    return Examples(inputs, targets, np.array(lengths))


def plain(batches: list[Batch]) -> list[Any]:
    return [[None if field is None else torch.as_tensor(field).tolist() for field in batch] for batch in batches]


def due_tokens(batches: list[Batch], streams: int) -> list[list[list[int]]]:
    """By stream, each stretch between two resets: the inputs at which something was due."""
    found: list[list[list[int]]] = [[] for _ in range(streams)]
    for batch in batches:
        assert batch.resets is not None
        for stream, new in enumerate(batch.resets.tolist()):
            if new:
                found[stream].append([])
            due_T = batch.targets[stream] != -100
            assert torch.equal(batch.targets[stream][due_T], batch.inputs[stream][due_T] + 1)
            found[stream][-1] += batch.inputs[stream][due_T].tolist()
    return found


@given(st.integers(1, 90), st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.integers(1, 3))
@settings(deadline=None, max_examples=100)
def test_windows_of_a_pass_add_up_to_the_document(
    steps: int, streams: int, stride: int, length: int, passes: int
) -> None:
    streams, length = min(streams, steps), max(length, stride)
    piece = steps // streams
    loader = StreamBatches(numbered(steps), streams, length, stride, 0, passes * piece * streams)
    batches = list(loader)
    assert len(loader) == len(batches) == passes * math.ceil(piece / stride)
    assert loader.dropped == steps - piece * streams < streams
    pieces = [list(range(start, start + piece)) for start in range(0, piece * streams, piece)]
    assert due_tokens(batches, streams) == [[one] * passes for one in pieces]


@given(st.integers(2, 60), st.integers(1, 5), st.integers(1, 6), st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_each_window_looks_back_k2_less_k1_steps_and_the_next_begins_at_advance(
    steps: int, streams: int, stride: int, back: int
) -> None:
    streams = min(streams, steps)
    piece = steps // streams
    batches = list(StreamBatches(numbered(steps), streams, stride + back, stride, 0, piece * streams))
    for number, batch in enumerate(batches):
        fresh = number * stride
        first, stop = max(0, fresh - back), min(fresh + stride, piece)
        assert batch.inputs[0].tolist() == list(range(first, stop))
        assert (batch.targets[0] != -100).tolist() == [step >= fresh for step in range(first, stop)]
        assert batch.lengths.tolist() == [stop - first] * streams
    for batch, later in itertools.pairwise(batches):
        ahead = batch.inputs.shape[1] if batch.advance is None else batch.advance
        assert batch.inputs[0, 0] + ahead == later.inputs[0, 0]
        assert not later.resets.any()


@given(documents, st.integers(1, 9), st.integers(1, 9), st.integers(0, 3))
@settings(deadline=None, max_examples=100)
def test_each_document_is_read_whole_and_once_a_pass(lengths: list[int], streams: int, length: int, seed: int) -> None:
    passes = 3
    examples = numbered(*lengths)
    batches = list(StreamBatches(examples, streams, length, length, seed, passes * sum(lengths)))
    stretches = [one for stream in due_tokens(batches, streams) for one in stream]
    whole = [examples.inputs[row, :n].tolist() for row, n in enumerate(lengths) if n]
    ends = [one for one in stretches if one not in whole]  # of the pass after the last, cut with the budget
    assert all(any(one == other[: len(one)] for other in whole) for one in ends)
    assert sum(map(len, stretches)) == passes * sum(lengths)
    if streams == 1:  # one after the other, in an order of its own for each pass
        assert sorted(stretches) == sorted(whole * passes)
        orders = [stretches[i : i + len(whole)] for i in range(0, len(stretches), len(whole))]
        assert all(sorted(order) == sorted(whole) for order in orders)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(1, 4), st.integers(1, 7), st.integers(1, 90))
@settings(deadline=None, max_examples=50)
def test_the_budget_counts_due_tokens_exactly(lengths: list[int], streams: int, length: int, budget: int) -> None:
    streams = min(streams, lengths[0])
    loader = StreamBatches(numbered(*lengths), streams, length, length, 0, budget)
    tokens = [batch.tokens for batch in loader]
    assert sum(tokens) == budget and min(tokens) > 0 and len(tokens) == len(loader)
    full = StreamBatches(numbered(*lengths), streams, length, length, 0, budget + 90)
    assert tokens[:-1] == [batch.tokens for batch in full][: len(tokens) - 1]  # only the last one is cut


@pytest.mark.parametrize(("lengths", "stride"), [((50,), 4), ((50,), 3), ((20, 7, 0, 11), 4)])
def test_a_loader_goes_on_from_its_saved_state(lengths: tuple[int, ...], stride: int) -> None:
    def loader() -> StreamBatches:
        return StreamBatches(numbered(*lengths), 3, 4, stride, 5, 130)

    expected = plain(list(loader()))
    for stop in range(len(expected)):
        stopped = loader()
        read = iter(stopped)
        before = plain(list(itertools.islice(read, stop)))
        state = json.loads(json.dumps(stopped.state_dict()))
        after = loader()
        after.load_state_dict(state)
        assert before + plain(list(after)) == expected
    again = loader()
    assert plain(list(again)) == plain(list(again)) == expected  # and starts anew when it is done


def test_the_order_depends_on_the_seed_alone() -> None:
    def order(seed: int, *lengths: int) -> list[Any]:
        return plain(list(StreamBatches(numbered(*lengths), 2, 4, 4, seed, 200)))

    several = (9, 8, 7, 6, 5)
    np.random.seed(0)
    torch.manual_seed(0)
    first = order(1, *several)
    np.random.seed(1)
    torch.manual_seed(1)
    assert order(1, *several) == first != order(2, *several)
    assert order(1, 40) == order(2, 40)  # one document has no order to draw


def test_a_window_is_cut_to_its_longest_stream_and_idle_ones_owe_nothing() -> None:
    first, second = list(EvalStreams(numbered(6, 2, 1), 3, 4))
    assert first.lengths.tolist() == [4, 2, 1] and first.tokens == 7
    assert second.inputs.tolist() == [[4, 5], [0, 0], [0, 0]] and second.tokens == 2
    assert second.targets.tolist() == [[5, 6], [-100, -100], [-100, -100]]


@given(st.integers(1, 90), st.integers(1, 40), st.integers(1, 9))
@settings(deadline=None, max_examples=60)
def test_evaluation_scores_each_token_of_a_document_once(steps: int, streams: int, length: int) -> None:
    loader = EvalStreams(numbered(steps), streams, length)
    batches = list(loader)
    assert len(loader) == len(batches)
    found = due_tokens(batches, len(batches[0].inputs))
    assert [token for ((*tokens,),) in found for token in tokens] == list(range(steps))


@given(documents, st.integers(1, 9), st.integers(1, 9))
@settings(deadline=None, max_examples=60)
def test_evaluation_reads_every_document_from_its_start(lengths: list[int], streams: int, length: int) -> None:
    examples = numbered(*lengths)
    batches = list(EvalStreams(examples, streams, length))
    found = due_tokens(batches, len(batches[0].inputs))
    whole = [examples.inputs[row, :n].tolist() for row, n in enumerate(lengths) if n]
    assert sorted(one for stream in found for one in stream if one) == sorted(whole)


def test_looking_back_into_another_document_is_refused() -> None:
    message = r"bptt_stride: 2 of 4 steps would look back.*\n  allowed: bptt_length \(4\), for a .* of 2 documents"
    with pytest.raises(UserError, match=message):
        StreamBatches(numbered(9, 9), 1, 4, 2, 0, 10)


def test_more_streams_than_steps_are_refused() -> None:
    with pytest.raises(UserError, match=r"batch_size: 10 streams of a document of 9 steps\n  allowed: 1 to 9"):
        StreamBatches(numbered(9), 10, 4, 4, 0, 10)


def test_nothing_due_is_refused() -> None:
    silent = numbered(9)
    silent.targets[:] = -100
    with pytest.raises(UserError, match="no target that is due"):
        StreamBatches(silent, 1, 4, 4, 0, 10)


def test_targets_may_be_values_and_are_due_where_they_are_not_nan() -> None:
    values = np.arange(20.0).reshape(1, 10, 2)
    values[0, 3] = np.nan
    examples = Examples(values.astype(np.float32), values, np.array([10]))
    batches = list(StreamBatches(examples, 2, 4, 2, 0, 7))
    assert [batch.tokens for batch in batches] == [4, 3]  # step 3 of the first stream, in the second batch, is not due
    assert batches[1].targets[0].isnan().all(1).tolist() == [True, True, False, True]
    assert batches[1].inputs.shape == (2, 4, 2)
