"""A pointer mixes two distributions, knows where its last copy was, and is nothing where its gate is open."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from by_hand import assert_close, drawn, every_kernel, gradients, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from written_by_hand import (
    CELLS,
    RAGGED,
    SYMBOLS,
    batch_of,
    built,
    common_end,
    greedy_by_hand,
    loss_of_batch,
    one_sequence,
    trained,
    trial,
)

from harness.cost import LONGEST_RUN
from harness.data.batches import Batch
from harness.errors import UserError
from harness.models.attention import Memory
from harness.models.decoding import NOTHING
from harness.models.encoder_decoder import EncoderDecoder
from harness.models.pointer import Pointer
from harness.trial import Trial

any_kernel = pytest.mark.parametrize(("name", "fused"), every_kernel(CELLS))
START = SYMBOLS


def copier(name: str = "lstm", fused: bool = True, **more: Any) -> EncoderDecoder:
    return built(name, fused, attention="dot", pointer=True, **more)


def batch() -> Batch:
    return batch_of(*RAGGED["reversal"])


def part(rows: int = 3, steps: int = 4, source: int = 6, seed: int = 0) -> tuple[Pointer, list[torch.Tensor], Memory]:
    """A pointer by itself: scores, h~ and looks of a batch whose sources have every length, and its memory."""
    pointer, generator = drawn(Pointer(3, START), seed), torch.Generator().manual_seed(seed)
    symbols = torch.randint(SYMBOLS, (rows, source), generator=generator)
    before = torch.randint(SYMBOLS, (rows, steps), generator=generator)
    before[:, 0] = START
    padding = torch.arange(source) >= torch.arange(1, rows + 1)[:, None]
    looks = noise(rows, steps, source, seed=seed).masked_fill(padding[:, None], float("-inf"))
    memory = pointer.given(Memory(looks, looks, padding[:, None]), symbols, before)
    return pointer, [noise(rows, steps, SYMBOLS, seed=seed + 1), noise(rows, steps, 3, seed=seed + 2), looks], memory


@any_kernel
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, True)])
@pytest.mark.parametrize("cut", [None, 2])
def test_loss_and_gradients_equal_those_by_hand(name: str, fused: bool, layers: int, bidirectional: bool, cut) -> None:
    model = copier(name, fused, layers=layers, bidirectional=bidirectional)
    found = trained(model, batch(), cut, watch=True)[:2]
    loss, _ = loss_of_batch(model, batch(), cut)
    model.zero_grad()
    loss.backward()
    assert_close(found, (loss.detach(), gradients(model)))
    named = zip([name for name, _ in model.named_parameters()], found[1], strict=True)
    assert all(bool(grad.any()) for weight, grad in named if weight.startswith("pointer"))


@given(seed=st.integers(0, 1_000), scale=st.floats(0.01, 300))
@settings(deadline=None, max_examples=40)
def test_probabilities_sum_to_one_and_none_is_copied_from_padding(seed: int, scale: float) -> None:
    pointer, (scores, mixed, looks), memory = part(seed=seed)
    log_p = pointer(scores * scale, mixed * scale, looks * scale, memory)
    assert_close(log_p.exp().sum(2), torch.ones(3, 4, dtype=torch.float64))
    other = memory.symbols_BS.where(~memory.padding_B1S[:, 0], (memory.symbols_BS + 1) % SYMBOLS)
    assert torch.equal(pointer(scores * scale, mixed * scale, looks * scale, memory._replace(symbols_BS=other)), log_p)


def test_gradients_equal_finite_differences() -> None:
    pointer, given_, memory = part()
    given_ = [value.requires_grad_() for value in given_]
    there = ~memory.padding_B1S

    def loss(scores, mixed, looks, *weights):
        state = dict(zip([name for name, _ in pointer.named_parameters()], weights, strict=True))
        looks = looks.masked_fill(~there, float("-inf"))
        return torch.func.functional_call(pointer, state, (scores, mixed, looks, memory))

    finite = given_[2].detach().masked_fill(~there, 0).requires_grad_()
    assert torch.autograd.gradcheck(loss, (*given_[:2], finite, *pointer.parameters()))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_where_the_gate_is_open_it_is_the_decoder_without_copying(bidirectional: bool) -> None:
    model, plain = copier(bidirectional=bidirectional), built(attention="dot", bidirectional=bidirectional)
    with torch.no_grad():
        model.pointer.gate.weight.zero_()
        model.pointer.gate.bias.fill_(1e9)
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("pointer")})
    assert_close(model.forced(batch())[0], plain.forced(batch())[0].log_softmax(2))
    (loss, grads, _), (loss_plain, grads_plain, _) = trained(model, batch()), trained(plain, batch())
    assert_close(loss, loss_plain)
    names = [name for name, _ in model.named_parameters()]
    assert_close([g for n, g in zip(names, grads, strict=True) if not n.startswith("pointer")], list(grads_plain))
    for width in (1, 3):
        model.beam_width = plain.beam_width = width
        assert torch.equal(model.answer(batch())[0], plain.answer(batch())[0])


def test_where_the_gate_is_shut_nothing_is_written_that_was_not_read() -> None:
    model = copier()
    with torch.no_grad():
        model.pointer.gate.weight.zero_()
        model.pointer.gate.bias.fill_(-1e3)
    source = torch.tensor([[1, 3, 3], [2, 2, 2]])
    written = model.answer(Batch(source, source, torch.tensor([3, 2])))[0]
    assert set(written[0].tolist()) <= {1, 3} and set(written[1].tolist()) == {2}


def test_a_run_is_worth_a_copy_of_the_source_from_its_beginning() -> None:
    """Nothing but the runs speaks: what was begun goes on, up to the end of the source and then no further."""
    model = copier()
    with torch.no_grad():
        for weight in [*model.pointer.gate.parameters(), *model.attention.parameters()]:
            weight.zero_()
        model.pointer.gate.bias.fill_(-1e3)
        model.pointer.runs.copy_(torch.arange(1, LONGEST_RUN + 1) * 50)
    source = torch.tensor([[2, 1, 2, 3, 2, 1, 1, 0]])
    assert model.answer(Batch(source, source, torch.tensor([8])))[0].tolist() == [[2, 1, 2, 3, 2, 1, 1, 0]]


@given(source=st.lists(st.integers(0, 2), min_size=1, max_size=7), written=st.lists(st.integers(0, 2), max_size=8))
def test_a_run_is_how_much_of_what_was_written_stands_before(source: list[int], written: list[int]) -> None:
    pointer, runs = Pointer(3, START), torch.zeros(1, len(source), dtype=torch.int64)
    for token in [START, *written]:
        runs = pointer.follow(runs, torch.tensor([token]), torch.tensor([source]))
    read, wrote = [START, *source], [START, *written]
    assert runs[0].tolist() == [common_end(read[: s + 1], wrote, LONGEST_RUN) for s in range(len(source))]


@any_kernel
def test_padding_changes_nothing(name: str, fused: bool) -> None:
    model, small = copier(name, fused, layers=2, bidirectional=True), batch()
    g = torch.Generator().manual_seed(1)
    wider = Batch(
        torch.cat([small.inputs, torch.randint(SYMBOLS, (4, 3), generator=g)], 1),
        torch.cat([small.targets, torch.full((4, 2), -100)], 1),
        small.lengths,
    )
    for length in (None, 2):
        assert_close(trained(model, wider, length)[:2], trained(model, small, length)[:2])
    other = wider.inputs.where(torch.arange(8) < wider.lengths[:, None], (wider.inputs + 1) % SYMBOLS)
    assert_close(trained(model, wider._replace(inputs=other))[:2], trained(model, small)[:2])


@pytest.mark.parametrize("width", [1, 3])
@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=15)
def test_a_row_is_answered_as_it_would_be_alone(width: int, seed: int) -> None:
    model, several = drawn(copier(bidirectional=True, beam_width=width), seed, scale=2), batch()
    together = model.answer(several)[0]
    for row, length in enumerate(several.lengths.tolist()):
        one = slice(row, row + 1)
        alone = model.answer(Batch(several.inputs[one, :length], several.targets[one], several.lengths[one]))[0][0]
        assert torch.equal(together[row, : len(alone)], alone)


@any_kernel
def test_a_free_answer_is_the_likeliest_symbol_after_what_was_written(name: str, fused: bool) -> None:
    model = copier(name, fused, bidirectional=True)
    for row, inputs, length in zip(model.answer(batch())[0], batch().inputs, batch().lengths, strict=True):
        expected = greedy_by_hand(model, inputs[:length], model.limit)
        assert row[: len(expected)].tolist() == expected
        assert set(row[len(expected) :].tolist()) <= {NOTHING}


def test_a_beam_that_keeps_everything_finds_the_best_of_all_answers() -> None:
    model = copier("gru", layers=2, bidirectional=True)
    model.limit, model.beam_width = 3, SYMBOLS**3
    every = [list(s) for n in (1, 2, 3) for s in itertools.product(range(SYMBOLS), repeat=n) if 0 not in s[:-1]]
    every = [s for s in every if s[-1] == 0 or len(s) == 3]
    for row, inputs, length in zip(model.answer(batch())[0], batch().inputs, batch().lengths, strict=True):
        worth = []
        for s in every:
            with torch.no_grad():
                answers = one_sequence(model, inputs[:length], [START, *s[:-1]]).answers
            worth.append(float(sum(answer[y] for answer, y in zip(answers, s, strict=True))) / len(s))
        best = every[worth.index(max(worth))]
        assert row[: len(best)].tolist() == best


def test_copying_needs_attention_and_symbols_that_both_sides_share() -> None:
    with pytest.raises(UserError, match="pointer: without attention there is nothing to point with"):
        trial("reversal", pointer=True).check()
    with pytest.raises(UserError, match="pointer: task 'countdown' reads other symbols than it writes") as caught:
        trial("countdown", pointer=True, attention="dot").check()
    assert (caught.value.faults[0].allowed, caught.value.faults[0].remedy) == ("false", "pointer: false")
    trial("reversal", pointer=True, attention="dot").check()


def test_without_a_decoder_there_is_no_copying() -> None:
    plain = Trial(task={"name": "adding"}, cell={"name": "gru"}, examples=1)
    assert plain.model_copy(update={"pointer": True}).normalised().id == plain.normalised().id
