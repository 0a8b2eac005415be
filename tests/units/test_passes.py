"""The order of examples: every one once a pass, from the seed alone, and lengths put together without losing any."""

from __future__ import annotations

import itertools
import json

import numpy as np
from by_hand import every_cell
from hypothesis import given, settings
from hypothesis import strategies as st
from trained import text

from harness.data.batches import EvalBatches, TrainBatches
from harness.data.passes import POOL, Passes, by_length
from harness.engine import run_trial
from harness.tasks.base import Examples
from harness.trial import Trial

quick = settings(deadline=None, max_examples=60)


@given(count=st.integers(1, 60), size=st.integers(1, 9), seed=st.integers(0, 3), together=st.booleans())
@quick
def test_each_pass_holds_every_example_once_and_all_batches_but_the_last_are_full(count, size, seed, together) -> None:
    lengths = np.random.default_rng(0).integers(1, 5, count) if together else None
    passes = Passes(count, seed, size, lengths)
    for number in (0, 1, 2):
        assert sorted(passes.order(number)) == list(range(count))
    seen = passes.between(0, 3 * count)
    assert seen.tolist() == [i for number in (0, 1, 2) for i in passes.order(number)]
    again = Passes(count, seed, size, lengths)
    assert [again.between(i, i + 1).item() for i in range(2 * count)] == seen[: 2 * count].tolist()


def test_two_passes_and_two_seeds_have_orders_of_their_own() -> None:
    lengths = np.arange(40) % 7
    for kind in (None, lengths):
        orders = [Passes(40, seed, 4, kind).order(number).tolist() for seed in (0, 1) for number in (0, 1)]
        assert len({tuple(order) for order in orders}) == 4


@given(count=st.integers(20, 120), size=st.integers(2, 10), seed=st.integers(0, 5))
@quick
def test_a_batch_of_one_pass_and_pool_is_a_run_of_the_sorted_lengths(count, size, seed) -> None:
    """So the ranges that two batches span overlap at their ends at most, wherever the seam between passes falls."""
    lengths = np.random.default_rng(seed).integers(1, 30, count)
    passes, spans = Passes(count, seed, size, lengths), []
    for start in range(-(-count // size) * size, 2 * count - size + 1, size):  # the whole batches of the second pass
        drawn = lengths[passes.between(start, start + size)]
        spans.append((drawn.min(), drawn.max()))
    assert len(spans) <= POOL
    assert all(low >= high for (_, high), (low, _) in itertools.pairwise(sorted(spans)))


def test_batches_come_in_no_order_of_length() -> None:
    lengths = np.arange(400)
    firsts = [int(Passes(400, 0, 4, lengths).between(i, i + 1).item()) for i in range(0, 400, 4)]
    assert firsts != sorted(firsts) and abs(np.corrcoef(firsts, np.arange(100))[0, 1]) < 0.3


def test_the_key_sorts_by_what_is_read_and_then_by_what_is_due() -> None:
    targets = np.array([[1, 0, -100], [0, -100, -100], [1, 2, 0], [0, -100, -100]])
    examples = Examples(np.zeros((4, 9), int), targets, np.array([2, 2, 1, 9]))
    assert np.argsort(by_length(examples), kind="stable").tolist() == [2, 1, 0, 3]
    for targets in (np.zeros(4, int), np.zeros((4, 9, 2), np.float32)):
        assert by_length(Examples(examples.inputs, targets, examples.lengths)).tolist() == [2, 2, 1, 9]


def test_a_loader_of_lengths_put_together_goes_on_from_its_saved_state() -> None:
    examples = text(*np.random.default_rng(1).integers(1, 9, 23).tolist())

    def loader() -> TrainBatches:
        return TrainBatches(examples, 4, Passes(23, 3, 4, by_length(examples)), 60)

    expected = [batch.inputs.tolist() for batch in loader()]
    for stop in range(len(expected)):
        stopped, after = loader(), loader()
        before = [batch.inputs.tolist() for batch in itertools.islice(iter(stopped), stop)]
        after.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
        assert before + [batch.inputs.tolist() for batch in after] == expected


def test_an_evaluation_sees_every_example_once_the_shorter_first() -> None:
    lengths = np.random.default_rng(1).integers(1, 9, 23)
    batches = list(EvalBatches(text(*lengths.tolist()), 5))
    assert [n for batch in batches for n in batch.lengths.tolist()] == sorted(lengths)
    assert [batch.inputs.shape[1] for batch in batches] == [int(batch.lengths.max()) for batch in batches]


def test_a_trial_by_length_reads_the_same_with_less_padding() -> None:
    plain = {"task": {"name": "reversal"}, "cell": every_cell()["lstm"].plain(), "hidden_size": 4, "evaluations": 1}
    found = {
        kind: run_trial(Trial(**plain, examples=10_000, batch_size=50, batching=kind))
        for kind in ("shuffled", "by-length")
    }
    assert {record.status for record in found.values()} == {"ok"}
    one, other = found.values()
    assert one.tokens == other.tokens and one.updates == other.updates
    assert (other.padded_tokens - other.tokens) < 0.5 * (one.padded_tokens - one.tokens)


def test_a_stream_has_one_way_to_be_read() -> None:
    plain = {"task": {"name": "autocomplete"}, "cell": {"name": "gru"}, "tokens": 1_000, "bptt_length": 8}
    assert Trial(**plain, batching="by-length").normalised().id == Trial(**plain).normalised().id
