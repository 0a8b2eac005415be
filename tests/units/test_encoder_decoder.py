"""The encoder-decoder equals itself by hand, looks at no padding, and never sees an answer before it is given."""

from __future__ import annotations

import itertools
import math
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
    TASKS,
    batch_of,
    built,
    loss_of_batch,
    trained,
)

from harness.data.batches import Batch
from harness.models.attention import DotAttention
from harness.models.encoder_decoder import EncoderDecoder

REMEMBER = [name for name in CELLS if CELLS[name].states]
any_kernel = pytest.mark.parametrize(("name", "fused"), every_kernel(CELLS))
with_and_without = pytest.mark.parametrize("attention", ["none", "dot"])


def by_hand(model: EncoderDecoder, batch: Batch, cut: int | None = None) -> Any:
    loss, sequences = loss_of_batch(model, batch, cut)
    loss.backward()
    return loss.detach(), gradients(model), sequences


@any_kernel
@with_and_without
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_loss_and_gradients_equal_those_by_hand(name: str, fused: bool, attention, layers, bidirectional) -> None:
    model = built(name, fused, attention=attention, layers=layers, bidirectional=bidirectional)
    batch = batch_of(*RAGGED["reversal"])
    assert_close(trained(model, batch)[:2], by_hand(model, batch)[:2])


@any_kernel
@with_and_without
def test_from_one_input_loss_and_gradients_equal_those_by_hand(name: str, fused: bool, attention) -> None:
    model = built(name, fused, "countdown", attention=attention, layers=2)
    batch = batch_of(*RAGGED["countdown"], "countdown")
    assert_close(trained(model, batch)[:2], by_hand(model, batch)[:2])


@pytest.mark.parametrize("name", ["lstm", "gru", "elman-tanh"])
@pytest.mark.parametrize("fused", [True, False])
@given(
    rows=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 5)), min_size=1, max_size=4),
    cut=st.integers(1, 4),
    both=st.booleans(),
    attention=st.sampled_from(["none", "dot"]),
    layers=st.integers(1, 2),
    watch=st.booleans(),
)
@settings(deadline=None, max_examples=12)
def test_truncated_gradients_equal_those_by_hand(name, fused, rows, cut, both, attention, layers, watch) -> None:
    model = built(name, fused, attention=attention, layers=layers, bidirectional=both)
    batch = batch_of(*map(list, zip(*rows, strict=True)))
    assert_close(trained(model, batch, cut, watch)[:2], by_hand(model, batch, cut)[:2])


@pytest.mark.parametrize("name", REMEMBER)
@with_and_without
@pytest.mark.parametrize("cut", [None, 2])
@pytest.mark.parametrize("task", TASKS)
def test_the_gradient_by_lag_is_that_of_each_sequence_from_its_own_end(name, attention, cut, task) -> None:
    model, batch = built(name, task=task, attention=attention, layers=2), batch_of(*RAGGED[task], task)
    lags, norms = trained(model, batch, cut, watch=True)[2]
    rows = len(batch.inputs)
    _, sequences = loss_of_batch(model, batch, cut)
    losses = []
    for sequence, targets in zip(sequences, batch.targets, strict=True):
        place = 0 if task == "reversal" else int((targets != -100).sum()) - 1
        losses.append(-sequence.answers[place].log_softmax(0)[targets[place]])
    (sum(losses) / rows).backward()
    states = [s.source if task == "reversal" else s.target for s in sequences]
    lengths = [len(of[0]) - 1 for of in states]
    direct = task == "reversal" and attention == "dot"
    reach = [n if direct or cut is None else (n - 1) % cut + 1 for n in lengths]
    assert lags == list(range(max(reach) + 1))
    for lag, layer in itertools.product(lags, range(2)):
        squares = [of[layer][n - lag].square() for of, n, far in zip(states, lengths, reach, strict=True) if far >= lag]
        expected = math.sqrt(sum(squares) / len(squares) * rows)
        assert float(norms[layer, lag]) == pytest.approx(expected, rel=1e-9, abs=1e-15)
    assert bool(norms.any())


@any_kernel
@with_and_without
def test_padding_of_source_and_target_changes_nothing(name: str, fused: bool, attention: str) -> None:
    model = built(name, fused, attention=attention, layers=2, bidirectional=True)
    batch = batch_of(*RAGGED["reversal"])
    wider = Batch(
        torch.cat([batch.inputs, torch.randint(SYMBOLS, (4, 3), generator=torch.Generator().manual_seed(1))], 1),
        torch.cat([batch.targets, torch.full((4, 2), -100)], 1),
        batch.lengths,
    )
    for length in (None, 2):
        assert_close(trained(model, wider, length)[:2], trained(model, batch, length)[:2])
    other = wider.inputs.where(torch.arange(8) < wider.lengths[:, None], (wider.inputs + 1) % SYMBOLS)
    assert_close(trained(model, wider._replace(inputs=other))[:2], trained(model, batch)[:2])
    for width in (1, 3):
        model.beam_width = width
        assert torch.equal(model.answer(wider)[0], model.answer(batch)[0])


@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4), steps=st.integers(1, 4), scale=st.floats(0.01, 300))
@settings(deadline=None, max_examples=25)
def test_attention_sums_to_one_over_real_steps_and_is_zero_on_padding(lengths, steps, scale) -> None:
    attention = drawn(DotAttention(3, 5))
    memory_BSW, lengths_B = noise(len(lengths), 6, 5) * scale, torch.tensor(lengths)
    h_BUH = noise(len(lengths), steps, 3, seed=1)
    weights_BUS = attention.weights(h_BUH, attention.look(memory_BSW, lengths_B))
    padding_BS = torch.arange(6) >= lengths_B[:, None]
    assert_close(weights_BUS.sum(2), torch.ones(len(lengths), steps, dtype=torch.float64))
    assert not bool(weights_BUS.masked_select(padding_BS[:, None]).any())
    spoilt_BSW = memory_BSW.masked_fill(padding_BS[:, :, None], float("nan"))
    spoilt, clean = (attention(h_BUH, attention.look(m_BSW, lengths_B)) for m_BSW in (spoilt_BSW, memory_BSW))
    assert torch.equal(spoilt, clean)


@pytest.mark.parametrize("watch", [False, True])
def test_a_batch_of_which_nothing_is_due_has_loss_zero_and_moves_nothing(watch: bool) -> None:
    model, batch = built(attention="dot"), batch_of([3, 2], [3, 3])
    loss, grads, _ = trained(model, batch._replace(targets=torch.full_like(batch.targets, -100)), watch=watch)
    assert float(loss) == 0
    assert not any(bool(grad.any()) for grad in grads)
