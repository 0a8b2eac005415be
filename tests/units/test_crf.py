"""Laws of the conditional random field, by counting every path: loss, best path, lengths and gradient."""

from __future__ import annotations

import itertools
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from trained import EachStep, trial

from harness.cells.lstm import LSTM
from harness.data.batches import Batch
from harness.models.base import Windows
from harness.models.heads import CRF
from harness.models.objectives import cross_entropy
from harness.models.sequence import SequenceModel
from harness.tasks.base import Examples, Shape

IGNORE = -100
LENGTHS = (4, 1, 3)
CLASSES = 3


class Tags(EachStep):
    """Tags of tokens, chosen together."""

    objective: ClassVar = "crf"
    metric: ClassVar = "accuracy"

    @property
    def shape(self):
        return Shape(steps=1_000, outputs=CLASSES, vocabulary=self.symbols)


def head(seed: int = 0) -> CRF:
    crf = CRF(CLASSES).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in crf.parameters():
            weight.normal_(generator=generator)
    return crf


def case(seed: int = 0, lengths: tuple[int, ...] = LENGTHS) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores (B, T, O), targets (B, T) with -100 beyond each end, lengths (B,)."""
    generator = torch.Generator().manual_seed(100 + seed)
    longest = max(lengths)
    scores = torch.randn(len(lengths), longest, CLASSES, dtype=torch.float64, generator=generator)
    targets = torch.randint(CLASSES, (len(lengths), longest), generator=generator)
    ends = torch.tensor(lengths)
    return scores, targets.masked_fill(torch.arange(longest) >= ends[:, None], IGNORE), ends


def value(crf: CRF, scores_TO: torch.Tensor, path: tuple[int, ...]) -> torch.Tensor:
    """The formula, term by term."""
    total = crf.start[path[0]] + crf.stop[path[-1]]
    for t, y in enumerate(path):
        total = total + scores_TO[t, y] + (crf.transitions[path[t - 1], y] if t else 0)
    return total


def paths(steps: int) -> list[tuple[int, ...]]:
    return list(itertools.product(range(CLASSES), repeat=steps))


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_minus_log_p_of_the_path_over_all_paths(seed):
    crf, (scores, targets, lengths) = head(seed), case(seed)
    due = torch.zeros((), dtype=torch.float64)
    for row, n in enumerate(LENGTHS):
        every = torch.stack([value(crf, scores[row], path) for path in paths(n)])
        due = due + every.logsumexp(0) - value(crf, scores[row], tuple(targets[row, :n].tolist()))
    found, count = crf.loss(scores, targets, lengths)
    assert found.item() == pytest.approx(due.item(), rel=1e-12) and int(count) == sum(LENGTHS)


@pytest.mark.parametrize("seed", range(5))
def test_the_answer_is_the_best_of_all_paths(seed):
    crf, (scores, _, lengths) = head(seed), case(seed)
    answer = crf.decode(scores, lengths)
    for row, n in enumerate(LENGTHS):
        best = max(paths(n), key=lambda path, row=row: value(crf, scores[row], path).item())
        assert answer[row].tolist() == [*best, *[IGNORE] * (max(LENGTHS) - n)]


def test_the_probabilities_of_all_paths_add_up_to_1():
    crf, (scores, _, _) = head(), case()
    every = torch.tensor(paths(4))
    loss = [crf.loss(scores[:1], path[None], torch.tensor([4]))[0] for path in every]
    assert torch.stack(loss).neg().exp().sum().item() == pytest.approx(1, rel=1e-12)


def test_what_stands_in_the_padding_changes_nothing():
    crf, (scores, targets, lengths) = head(), case()
    other = scores.clone()
    other[torch.arange(4)[None] >= lengths[:, None]] = 1e3
    longer = F.pad(other, (0, 0, 0, 3), value=-7.0), F.pad(targets, (0, 3), value=IGNORE)
    for s, y in ((other, targets), longer):
        assert crf.loss(s, y, lengths)[0].item() == crf.loss(scores, targets, lengths)[0].item()
        assert torch.equal(crf.decode(s, lengths)[:, :4], crf.decode(scores, lengths))


def test_sequences_do_not_see_each_other():
    crf, (scores, targets, lengths) = head(), case()
    alone = sum(
        crf.loss(scores[i : i + 1, :n], targets[i : i + 1, :n], lengths[i : i + 1])[0] for i, n in enumerate(LENGTHS)
    )
    assert crf.loss(scores, targets, lengths)[0].item() == pytest.approx(alone.item(), rel=1e-12)


def test_without_transitions_it_is_the_softmax():
    crf, (scores, targets, lengths) = CRF(CLASSES).double(), case()
    assert crf.loss(scores, targets, lengths)[0].item() == pytest.approx(
        F.cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="sum").item(), rel=1e-12
    )
    real = torch.arange(4) < lengths[:, None]
    assert torch.equal(crf.decode(scores, lengths)[real], scores.argmax(2)[real])


def test_the_gradient_is_right():
    crf, (scores, targets, lengths) = head(), case()
    weights = [scores.requires_grad_(), *crf.parameters()]
    assert torch.autograd.gradcheck(lambda *_: crf.loss(scores, targets, lengths)[0], weights)
    crf.loss(scores, targets, lengths)[0].backward()
    assert not scores.grad[torch.arange(4)[None] >= lengths[:, None]].any()


# in a model


def model(both: bool) -> SequenceModel:
    return SequenceModel(trial(bidirectional=both), Tags(), LSTM())


def batch() -> Batch:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, CLASSES, (3, 4))
    targets[np.arange(4) >= np.array(LENGTHS)[:, None]] = IGNORE
    return Batch.of(Examples(rng.integers(0, 5, (3, 4)), targets, np.array(LENGTHS)), np.arange(3))


@pytest.mark.parametrize("both", [False, True])
def test_a_model_trains_on_the_mean_loss_of_its_head_and_answers_its_best_path(both):
    net, given = model(both), batch()
    found = net.backward(given, cross_entropy, Windows(None, None, False), torch.Tensor.backward)
    got = {name: weight.grad.clone() for name, weight in net.named_parameters()}
    net.zero_grad()
    zeros = net.stack.zero_state(3)
    scores = net.read_out(net.stack(net.encode(given.inputs), zeros, given.lengths, [4])[0])
    loss, due = net.over_steps.loss(scores, given.targets, given.lengths)
    (loss / due).backward()
    assert found.loss == pytest.approx((loss / due).item(), rel=1e-12)
    for name, weight in net.named_parameters():
        assert torch.allclose(got[name], weight.grad, atol=1e-12), name
    assert torch.equal(net.answer(given)[0], net.over_steps.decode(scores, given.lengths))


def test_it_learns_a_rule_on_tags_that_no_single_step_shows():
    """The tag is 0 or 1 by turns whatever the tokens are, from either: 2 never follows. Softmax scores could only learn
    one half; the best path keeps the turns."""
    lengths = np.full(64, 8)
    start = np.arange(64) % 2
    targets = (start[:, None] + np.arange(8)) % 2
    examples = Examples(np.zeros((64, 8), np.int64), targets, lengths)
    net = CRF(CLASSES)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.1)
    scores = torch.zeros(64, 8, CLASSES)
    for _ in range(100):
        optimiser.zero_grad()
        net.loss(scores, torch.from_numpy(examples.targets), torch.from_numpy(lengths))[0].div(64).backward()
        optimiser.step()
    path = net.decode(scores, torch.from_numpy(lengths))
    assert (path[:, 1:] == 1 - path[:, :-1]).all()
