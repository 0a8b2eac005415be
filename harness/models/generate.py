"""Free-running generation: each answer is the model's next input, and no target is ever seen.

Shape legend: B prompts, T steps of a prompt, S steps that are generated, O classes or 0/1 values of a step.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harness.errors import Fault, UserError
from harness.models.sequence import SequenceModel
from harness.tasks.base import Task


@torch.no_grad()
def generate(
    model: SequenceModel,
    task: Task,
    prompts: np.ndarray,
    steps: int,
    temperature: float = 1.0,
    seed: int = 0,
    top_k: int | None = None,
) -> np.ndarray:
    """Go on from where each prompt ends: (B, S) classes, or (B, S, O) of 0 and 1, as the task's targets are.

    prompts: inputs (B, T, ...) as in `Examples`, without padding. Classes are drawn from softmax(z / temperature), 0/1
    values each from sigmoid(z / temperature), independent given the past; temperature 0 takes the likeliest. `top_k`:
    of classes the k likeliest are possible, of 0/1 values the k likeliest may be 1. A task whose documents all have
    one length (`Task.document`) is not continued beyond it. A row depends on its prompt, on `seed` and on its place,
    not on the rows beside it; more steps continue what fewer give. Raises UserError for a task that is no stream of
    its own answers, and for settings out of range.
    """
    _check(task, prompts, steps, temperature, top_k)
    if task.document:
        steps = min(steps, task.document + 1 - prompts.shape[1])
    values = 1 if task.objective == "cross-entropy" else task.shape.outputs
    draws_BSO = np.stack([np.random.default_rng([seed, row]).random((steps, values)) for row in range(len(prompts))])
    device, training = model.head.weight.device, model.training
    chances = torch.from_numpy(draws_BSO).to(device)
    read = torch.from_numpy(prompts.astype(np.int64 if task.shape.vocabulary else np.float32)).to(device)
    states, written = model.stack.zero_state(len(prompts)), []
    model.eval()
    try:
        for step in range(steps):
            lengths = torch.full((len(prompts),), read.shape[1], device=device)
            out_BTH, states, _ = model.stack(model.encode(read), states, lengths, [read.shape[1]])
            scores_BO = model.read_out(out_BTH[:, -1]).double()
            choose = _class if values == 1 and task.objective == "cross-entropy" else _values
            written.append(choose(scores_BO, chances[:, step], temperature, top_k))
            read = written[-1][:, None]
    finally:
        model.train(training)
    return torch.stack(written, 1).cpu().numpy()


def _class(scores_BO: Tensor, chance_B1: Tensor, temperature: float, top_k: int | None) -> Tensor:
    """Return a class (B,): the first at which the summed probabilities exceed the draw."""
    if temperature == 0:
        return scores_BO.argmax(1)
    kept_BO = scores_BO if top_k is None else scores_BO.masked_fill(~_likeliest(scores_BO, top_k), -torch.inf)
    sums_BO = ((kept_BO - kept_BO.amax(1, keepdim=True)) / temperature).softmax(1).cumsum(1)
    # the last sum may fall short of 1 by a rounding, and what is impossible adds nothing to the sum before it
    return (sums_BO <= chance_B1 * sums_BO[:, -1:]).sum(1).clamp(max=scores_BO.shape[1] - 1)


def _values(scores_BO: Tensor, chance_BO: Tensor, temperature: float, top_k: int | None) -> Tensor:
    """Return values 0 and 1 (B, O)."""
    ones_BO = scores_BO > 0 if temperature == 0 else (scores_BO / temperature).sigmoid() > chance_BO
    ones_BO = ones_BO if top_k is None else ones_BO & _likeliest(scores_BO, top_k)
    return ones_BO.to(torch.float32)


def _likeliest(scores_BO: Tensor, top_k: int) -> Tensor:
    """Mark the k largest scores of each row."""
    chosen_BK = scores_BO.topk(min(top_k, scores_BO.shape[1]), 1).indices
    return torch.zeros_like(scores_BO, dtype=torch.bool).scatter_(1, chosen_BK, value=True)


def _check(task: Task, prompts: np.ndarray, steps: int, temperature: float, top_k: int | None) -> None:
    """Raise UserError for everything that is wrong with a request."""
    faults = []
    if not task.autoregressive or task.objective not in ("cross-entropy", "binary-cross-entropy"):
        what = f"task {task.plugin_name()!r} does not go on from what it reads"
        faults.append(Fault(what, allowed="a task that predicts its next input"))
    elif task.document and prompts.shape[1] > task.document:
        what = f"a prompt of {prompts.shape[1] - 1} steps leaves nothing to add"
        faults.append(Fault(what, allowed=f"0 to {task.document - 1}"))
    if steps < 1:
        faults.append(Fault(f"steps: {steps}", allowed="1 or more"))
    if not 0 <= temperature < np.inf:
        faults.append(Fault(f"temperature: {temperature}", allowed="0 (the likeliest) or more"))
    if top_k is not None and top_k < 1:
        faults.append(Fault(f"top_k: {top_k}", allowed="1 or more"))
    if faults:
        raise UserError(faults)
