"""Decoding from any step function: greedy, beam, and how what was written is scored."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.models.decoding import NOTHING, Step, beam, greedy
from harness.models.scoring import score
from harness.models.stack import StackState
from harness.tasks.base import Shape
from harness.tasks.reversal import Reversal

END, START = 0, 3
CLASSES, LIMIT = 3, 4
seeds = st.integers(0, 10_000)


class Speaker:
    """A tiny recurrent model of next tokens with drawn weights; rows are examples, each with a start of its own."""

    def __init__(self, seed: int, rows: int) -> None:
        g = torch.Generator().manual_seed(seed)
        drawn = [torch.randn(n, generator=g, dtype=torch.float64) for n in ((4, 5), (5, 5), (5, CLASSES), (rows, 5))]
        self.embedding, self.again, self.out, start_BH = drawn
        self.start: StackState = [(start_BH, 2 * start_BH)]
        self.first = torch.full((rows,), START)

    def step(self, tokens_N: Tensor, states: StackState) -> tuple[Tensor, StackState]:
        h, c = states[0]
        c = (c @ self.again + self.embedding[tokens_N] + h).sin()
        h = c.tanh()
        return (2 * h @ self.out).log_softmax(1), [(h, c)]

    def log_p(self, row: int, tokens: list[int]) -> float:
        """Log-probability of a sequence that is given, for one row."""
        states, last, total = [tuple(s[row : row + 1] for s in self.start[0])], START, 0.0
        for token in tokens:
            log_p_1V, states = self.step(torch.tensor([last]), states)
            total, last = total + float(log_p_1V[0, token]), token
        return total


def sequences() -> list[list[int]]:
    """All that can be written: closed by END, or cut at LIMIT."""
    every = [s for n in range(1, LIMIT + 1) for s in itertools.product(range(CLASSES), repeat=n)]
    return [list(s) for s in every if END not in s[:-1] and (s[-1] == END or len(s) == LIMIT)]


def trimmed(row: Tensor) -> list[int]:
    """Tokens up to the end; NOTHING may only stand behind it."""
    tokens = row.tolist()
    stop = tokens.index(END) + 1 if END in tokens else len(tokens)
    assert set(tokens[stop:]) <= {NOTHING}
    assert NOTHING not in tokens[:stop]
    return tokens[:stop]


@given(seed=seeds, rows=st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_a_beam_of_one_is_greedy(seed: int, rows: int) -> None:
    speaker = Speaker(seed, rows)
    tokens, log_p = greedy(speaker.step, speaker.first, speaker.start, END, LIMIT)
    kept, log_p_kept = beam(speaker.step, speaker.first, speaker.start, END, LIMIT, 1)
    assert torch.equal(tokens, kept)
    torch.testing.assert_close(log_p, log_p_kept, rtol=0, atol=1e-12)


@given(seed=seeds)
@settings(deadline=None, max_examples=25)
def test_a_beam_that_keeps_everything_finds_the_best_of_all_sequences(seed: int) -> None:
    speaker, every = Speaker(seed, 2), sequences()
    tokens, _ = beam(speaker.step, speaker.first, speaker.start, END, LIMIT, CLASSES**LIMIT)
    for row, found in enumerate(tokens):
        assert trimmed(found) == max(every, key=lambda s: speaker.log_p(row, s) / len(s))


@given(seed=seeds, rows=st.integers(1, 3), width=st.integers(1, 9))
@settings(deadline=None, max_examples=40)
def test_the_log_probability_is_that_of_the_sequence_when_it_is_given(seed: int, rows: int, width: int) -> None:
    speaker = Speaker(seed, rows)
    for tokens, log_p in (
        greedy(speaker.step, speaker.first, speaker.start, END, LIMIT),
        beam(speaker.step, speaker.first, speaker.start, END, LIMIT, width),
    ):
        given_ = [speaker.log_p(row, trimmed(found)) for row, found in enumerate(tokens)]
        torch.testing.assert_close(log_p, torch.tensor(given_, dtype=torch.float64), rtol=0, atol=1e-12)


@given(seed=seeds, rows=st.integers(1, 9))
@settings(deadline=None, max_examples=40)
def test_dropping_rows_that_have_ended_changes_nothing_and_leaves_less_to_do(seed: int, rows: int) -> None:
    speaker, sizes = Speaker(seed, rows), []

    def fewer(rows_N: Tensor) -> Step:
        sizes.append(len(rows_N))
        assert len(rows_N.unique()) == len(rows_N) and int(rows_N.max()) < rows
        return speaker.step

    whole, log_p = greedy(speaker.step, speaker.first, speaker.start, END, LIMIT)
    found, log_p_found = greedy(speaker.step, speaker.first, speaker.start, END, LIMIT, fewer)
    assert torch.equal(whole, found)
    torch.testing.assert_close(log_p, log_p_found, rtol=0, atol=1e-12)
    assert all(2 * few <= many for many, few in itertools.pairwise([rows, *sizes]))


@given(seed=seeds, width=st.integers(1, 5))
@settings(deadline=None, max_examples=25)
def test_a_row_is_decoded_as_it_would_be_alone(seed: int, width: int) -> None:
    speaker = Speaker(seed, 4)
    together, _ = beam(speaker.step, speaker.first, speaker.start, END, LIMIT, width)
    for row in range(4):
        alone: StackState = [tuple(s[row : row + 1] for s in speaker.start[0])]
        found, _ = beam(speaker.step, speaker.first[:1], alone, END, LIMIT, width)
        assert trimmed(found[0]) == trimmed(together[row])


def test_length_is_normalised_by_tokens_with_the_end_counted() -> None:
    """END at once: log 0.4. Or 1 then END: log 0.6 + log 0.5, which is less in sum and more for each token."""
    first, then = torch.tensor([0.4, 0.6, 1e-9]).log(), torch.tensor([0.5, 0.3, 0.2]).log()

    def step(tokens_N: Tensor, states: StackState) -> tuple[Tensor, StackState]:
        return torch.where((tokens_N == START)[:, None], first, then), states

    tokens, log_p = beam(step, torch.tensor([START]), [], END, LIMIT, 3)
    assert trimmed(tokens[0]) == [1, END]
    assert float(log_p) == pytest.approx(float(first[1] + then[END]))
    assert float(log_p) < float(first[END])


@pytest.mark.parametrize("width", [1, 2])
def test_decoding_stops_when_all_rows_have_ended_and_at_the_limit(width: int) -> None:
    calls: list[int] = []

    def step(tokens_N: Tensor, states: StackState) -> tuple[Tensor, StackState]:
        calls.append(len(tokens_N))
        return torch.tensor([favoured]).log().expand(len(tokens_N), -1), states

    favoured = [0.98, 0.01, 0.01]
    assert beam(step, torch.tensor([START, START]), [], END, 50, width)[0][:, 0].tolist() == [END, END]
    assert len(calls) <= 3  # the second best ends a step later
    calls.clear()
    favoured = [1e-9, 0.6, 0.4]
    assert beam(step, torch.tensor([START]), [], END, 5, width)[0].tolist() == [[1] * 5]
    assert greedy(step, torch.tensor([START]), [], END, 5)[0].tolist() == [[1] * 5]
    assert len(calls) == 10


WRITTEN = Shape(steps=3, outputs=4, vocabulary=4, target_steps=3)
TARGETS = torch.tensor([[1, 2, 0], [3, 0, -100], [0, -100, -100]])


@pytest.mark.parametrize(
    ("written", "tokens", "sequences"),
    [
        ([[1, 2, 0], [3, 0, -1], [0, -1, -1]], 6 / 6, 3 / 3),
        ([[1, 2, 0, -1, -1], [3, 0, -1, -1, -1], [0, -1, -1, -1, -1]], 6 / 6, 3 / 3),
        ([[1], [3], [0]], 3 / 6, 1 / 3),  # what is missing is wrong
        ([[1, 2, 3], [3, 0, -1], [0, -1, -1]], 5 / 6, 2 / 3),  # goes on where it should end
        ([[2, 1, 0], [3, 3, 0], [1, 0, -1]], 2 / 6, 0 / 3),  # place by place
    ],
)  # fmt: skip
def test_what_was_written_is_scored_place_by_place_over_what_is_due(written, tokens, sequences) -> None:
    for metric, expected in (("token_accuracy", tokens), ("sequence_accuracy", sequences)):
        once, twice = score(metric, Reversal()), score(metric, WRITTEN)
        once.update(torch.tensor(written), TARGETS)
        for row in range(3):
            twice.update(torch.tensor(written[row : row + 1]), TARGETS[row : row + 1])
        assert float(once.compute()) == float(twice.compute()) == pytest.approx(expected)


def test_a_row_of_which_nothing_is_due_counts_in_no_score() -> None:
    for metric in ("token_accuracy", "sequence_accuracy"):
        found = score(metric, Reversal())
        found.update(torch.tensor([[1, 0], [1, 1]]), torch.tensor([[1, 0], [-100, -100]]))
        assert float(found.compute()) == 1
