"""Small encoder-decoders, and what they are held against: one sequence and one step at a time, nothing padded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from by_hand import drawn, every_cell, gradients, noise, weights
from torch import Tensor
from torch.nn import functional as F

from harness.data.batches import Batch
from harness.models.base import Windows
from harness.models.build import build_model
from harness.models.encoder_decoder import EncoderDecoder
from harness.models.layer import Layer
from harness.models.objectives import cross_entropy
from harness.tasks.countdown import Countdown
from harness.tasks.reversal import Reversal
from harness.trial import Trial

CELLS = every_cell()
SYMBOLS = 4
TASKS = {
    "reversal": Reversal(length=6, symbols=SYMBOLS - 1),
    "countdown": Countdown(largest=SYMBOLS, strides=2),
}
RAGGED = {"reversal": ([4, 1, 5, 4], [5, 2, 1, 3]), "countdown": ([1, 1, 1], [4, 1, 3])}
"""Lengths of sources, and of targets with their end."""


def trial(task: str, **settings: Any) -> Trial:
    plain = {"examples": 1, "hidden_size": 3, "precision": "float64", "cell": {"name": "lstm"}}
    return Trial(task=TASKS[task].plain(), **{**plain, **settings})


def built(name: str = "lstm", fused: bool = True, task: str = "reversal", **settings: Any) -> EncoderDecoder:
    """A model with drawn weights in float64."""
    settings = {"kernel": "auto" if fused else "loop", **settings}
    model = build_model(trial(task, **settings), TASKS[task], CELLS[name])
    assert isinstance(model, EncoderDecoder)
    return drawn(model, scale=0.8)


def batch_of(lengths: list[int], written: list[int], task: str = "reversal", seed: int = 0) -> Batch:
    """Sources and targets of these lengths with drawn symbols, padded by symbols that mean nothing."""
    g = torch.Generator().manual_seed(seed)
    rows = len(lengths)
    if TASKS[task].shape.vocabulary:
        inputs = torch.randint(SYMBOLS, (rows, max(lengths)), generator=g)
    else:
        inputs = noise(rows, max(lengths), TASKS[task].shape.features, seed=seed)
    step = torch.arange(max(written))
    targets = torch.randint(1, SYMBOLS, (rows, max(written)), generator=g)
    last = torch.tensor(written)[:, None] - 1
    targets = targets.masked_fill(step == last, 0).masked_fill(step > last, -100)
    return Batch(inputs, targets, torch.tensor(lengths))


def trained(model: EncoderDecoder, batch: Batch, length: int | None = None, watch: bool = False) -> Any:
    """Return loss, gradients and profile of one backward pass."""
    model.zero_grad()
    found = model.backward(batch, cross_entropy, Windows(length, None, watch), lambda loss: loss.backward())
    return torch.tensor(found.loss, dtype=torch.float64), gradients(model), found.gradient


@dataclass
class Visited:
    """A state by what it is called twice at a cut: by what ends there, and by what goes on from it."""

    parts: list[tuple[Tensor, ...]]

    def square(self) -> float:
        """|dL/dstate|^2, after backward."""
        total = 0.0
        for same in zip(*self.parts, strict=True):
            grads = [s.grad for s in same if s.grad is not None]
            total += float(sum(grads).square().sum()) if grads else 0.0
        return total


@dataclass
class Sequence:
    """One example by hand: answers (U, O), and the states of the forward directions by layer and step."""

    answers: Tensor
    source: list[list[Visited]]
    target: list[list[Visited]]


def _kept(state: Any) -> Any:
    state = tuple(s.clone() if s.requires_grad else s.detach().requires_grad_() for s in state)
    for s in state:
        s.retain_grad()
    return state


def _layer(layer: Layer, inputs: list[Tensor], state: Any, cut: int | None) -> tuple[list[Tensor], list[Visited]]:
    """One layer in one direction: outputs, and the state before the first step and after each."""
    w, outputs, state = weights(layer), [], _kept(state)
    visited = [Visited([state])]
    for t, x in enumerate(inputs):
        if cut and t and t % cut == 0:
            state = _kept(tuple(s.detach() for s in state))
            visited[-1].parts.append(state)
        h, state = layer.cell.step(w, x @ w.weight_ih.mT + w.bias_ih, state)
        state = _kept(state)
        outputs.append(state[0] if state else h)
        visited.append(Visited([state]))
    return outputs, visited


def one_sequence(model: EncoderDecoder, inputs: Tensor, before: list[int], cut: int | None = None) -> Sequence:
    """Read one source (S, ...) and answer after each of the symbols `before` (the start symbol comes first)."""
    x = list(model.encode(inputs[None]).unbind(1))
    source, starts = [], []
    bridges = iter(model.bridge)
    for row in model.encoder.rows:
        ahead, visited = _layer(row[0], x, row[0].zero_state(1), cut)
        source.append(visited)
        end = visited[-1].parts[0]
        if len(row) == 2:
            back, visited_back = _layer(row[1], x[::-1], row[1].zero_state(1), cut)
            x = [torch.cat(pair, 1) for pair in zip(ahead, back[::-1], strict=True)]
            end = tuple(next(bridges)(torch.cat(both, 1)) for both in zip(end, visited_back[-1].parts[0], strict=True))
        else:
            x = ahead
        starts.append(end)
    memory = torch.cat(x)
    y = [model.target_embedding(torch.tensor([symbol])) for symbol in before]
    target = []
    for (layer,), start in zip(model.decoder.rows, starts, strict=True):
        y, visited = _layer(layer, y, start, cut)
        target.append(visited)
    answers = []
    for place, h in enumerate(y):
        looks = h.new_zeros(0)
        if model.attention is not None:
            scores = looks = torch.stack([h[0] @ (model.attention.score.weight @ m) for m in memory])
            context = sum(share * m for share, m in zip(scores.exp() / scores.exp().sum(), memory, strict=True))
            h = (model.attention.combine.weight @ torch.cat([context, h[0]])).tanh()[None]
        answers.append(h[0] @ model.head.weight.mT + model.head.bias)
        if model.pointer is not None:
            answers[-1] = _copied(model, answers[-1], h[0], looks, inputs.tolist(), before[: place + 1])
    return Sequence(torch.stack(answers), source, target)


def _copied(model: Any, own: Tensor, h: Tensor, looks: Tensor, source: list[int], before: list[int]) -> Tensor:
    """log p of each symbol where it may be the decoder's own or one of the source, position by position."""
    gate = (model.pointer.gate.weight[0] @ h + model.pointer.gate.bias[0]).sigmoid()
    worth = torch.cat([torch.zeros(1, dtype=own.dtype), model.pointer.runs])
    read = [model.start_symbol, *source]  # what stands before each place of the source
    runs = [common_end(read[: place + 1], before, len(model.pointer.runs)) for place in range(len(source))]
    shares = torch.softmax(looks + worth[torch.tensor(runs)], 0)
    hits = F.one_hot(torch.tensor(source), len(own)).to(own.dtype)
    return (gate * own.softmax(0) + (1 - gate) * shares @ hits).log()


def common_end(one: list[int], other: list[int], most: int) -> int:
    """How many symbols, `most` at most, both end in."""
    return max(n for n in range(min(len(one), len(other), most) + 1) if n == 0 or one[-n:] == other[-n:])


def loss_of_batch(model: EncoderDecoder, batch: Batch, cut: int | None = None) -> tuple[Tensor, list[Sequence]]:
    """Mean of -log p over all targets that are due, one sequence at a time, each fed the right symbol before."""
    losses, found = [], []
    for inputs, row, length in zip(batch.inputs, batch.targets, batch.lengths.tolist(), strict=True):
        targets = row[row != -100].tolist()
        sequence = one_sequence(model, inputs[:length], [model.start_symbol, *targets[:-1]], cut)
        losses += [-answer.log_softmax(0)[target] for answer, target in zip(sequence.answers, targets, strict=True)]
        found.append(sequence)
    return torch.stack(losses).mean(), found


def greedy_by_hand(model: EncoderDecoder, inputs: Tensor, limit: int) -> list[int]:
    """The likeliest symbol after what was written, from the start each time, until class 0."""
    written: list[int] = []
    while len(written) < limit and (not written or written[-1] != 0):
        answers = one_sequence(model, inputs, [model.start_symbol, *written]).answers
        written.append(int(answers[-1].argmax()))
    return written
