"""K trials in shared memory: weights and moments as rows of matrices, of which each trial's own tensors are views.

So a trial in a pack is what it is alone: its model, its optimiser's state, its checkpoint and its probes see their own
weights, and only the gradient and the step of an update are computed for all trials together.

Shape legend: see harness/cells/base.py; N in weights_KN is the number of weights of one trial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from harness.data.batches import Batch
from harness.models.base import Profile, Windows
from harness.models.build import build_model
from harness.models.objectives import LOSSES, missing
from harness.models.passes import Parts, at_once, by_window
from harness.models.sequence import SequenceModel
from harness.models.stack import StackState
from harness.pack import step
from harness.pack.clipping import Clipper
from harness.pack.dropping import Masks, undrawn
from harness.pack.layers import PackedLayer, Weights, packed_model
from harness.pack.merged import merged
from harness.pack.plan import drops
from harness.training.module import RecurrentModule

MOMENTS = {"adam": ("exp_avg", "exp_avg_sq"), "sgd": ()}


class Block(NamedTuple):
    """Some of the trials, whose gradient is computed at once."""

    rows: slice
    weights: Weights
    model: SequenceModel

    @property
    def trials(self) -> int:
        """How many."""
        return self.rows.stop - self.rows.start


class Gradient(NamedTuple):
    """Mean losses (K), their gradients, and of each trial the gradient by lag where it is watched."""

    losses: list[float]
    grads_KN: Tensor
    by_lag: list[Profile | None]


class Stacked:
    """Trials of one shape that are trained as one program."""

    def __init__(self, modules: Sequence[RecurrentModule], optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Take over the weights of the modules and what their optimisers hold."""
        self.modules, self.optimizers = list(modules), list(optimizers)
        one = modules[0]
        self.task, self.kind, self.drops = one.task, one.trial.optimizer, drops(one.trial)
        self.shapes = {name: weight.shape for name, weight in one.named_weights}
        with torch.no_grad():
            weights = [torch.cat([w.flatten() for _, w in m.named_weights]) for m in modules]
            self.weights_KN = torch.stack(weights)
            self.moments = {name: self._moments(name) for name in MOMENTS[self.kind]}
            self.steps_K = torch.stack([self._steps(k) for k in range(len(modules))])
            decays = [module.trial.weight_decay for module in modules]
            self.decay_K = torch.tensor(decays, dtype=torch.float64, device=self.weights_KN.device)
        self.clip = Clipper([module.trial.clipping for module in modules], self.weights_KN, self.parts)
        self._share()
        self.cut(len(modules))

    @property
    def kernel(self) -> str:
        """What unrolls the layers, as a record says it; "" where it is what does so of each trial alone."""
        model = self.blocks[0].model
        return cast(PackedLayer, model.stack.rows[0][0]).unrolls if model.remembers else "batched"

    def _moments(self, name: str) -> Tensor:
        rows = []
        for k, module in enumerate(self.modules):
            state = self.optimizers[k].state
            parts = [state[w][name] if w in state else torch.zeros_like(w) for _, w in module.named_weights]
            rows.append(torch.cat([part.flatten() for part in parts]))
        return torch.stack(rows)

    def _steps(self, k: int) -> Tensor:
        state = self.optimizers[k].state
        counts = [state[w]["step"] for _, w in self.modules[k].named_weights if "step" in state.get(w, {})]
        return counts[0].clone() if counts else torch.zeros((), device=self.weights_KN.device)

    def _share(self) -> None:
        """Make each trial's own tensors views."""
        self.steps = self.steps_K.unbind(0)
        for k, module in enumerate(self.modules):
            rows = {name: self.parts(moments[k]) for name, moments in self.moments.items()}
            for (name, weight), part in zip(module.named_weights, self.parts(self.weights_KN[k]).values(), strict=True):
                weight.data = part
                state: dict[str, Any] = {moment: parts[name] for moment, parts in rows.items()}
                if self.moments:
                    self.optimizers[k].state[weight] = {"step": self.steps[k], **state}

    def release(self, k: int) -> None:
        """Let a trial have its weights to itself; its row is trained no more."""
        for _, weight in self.modules[k].named_weights:
            weight.data = weight.data.clone()

    def parts(self, row: Tensor) -> Weights:
        """Return views of (N,) or (K, N) numbers in the shapes of the weights, by name."""
        sizes = [shape.numel() for shape in self.shapes.values()]
        pairs = zip(self.shapes.items(), row.split(sizes, -1), strict=True)
        return {name: part.unflatten(-1, shape) for (name, shape), part in pairs}

    def cut(self, most: int) -> None:
        """Compute the gradient of at most so many trials at once."""
        self.most, self.blocks = most, []
        module = self.modules[0]
        for begin in range(0, len(self.modules), most):
            rows = slice(begin, min(begin + most, len(self.modules)))
            weights = {name: w.requires_grad_() for name, w in self.parts(self.weights_KN[rows].detach()).items()}
            model = build_model(module.trial, module.task, module.trial.build_cell())
            assert isinstance(model, SequenceModel)
            masks = Masks([module.generator for module in self.modules[rows]])
            self.blocks.append(Block(rows, weights, packed_model(model, weights, masks if self.drops else None)))

    def gradient(self, batches: Sequence[Batch], windows: Windows) -> Gradient | None:
        """Return what is found going back over the batches, and leave the states that streams carry with each trial;
        None, and nothing changed, where they do not go together. Raises what torch raises where it is out of memory,
        nothing changed either."""
        drawn_from = [module.generator for module in self.modules if self.drops]
        return undrawn(drawn_from, lambda: self._gradient(batches, windows))

    def _gradient(self, batches: Sequence[Batch], windows: Windows) -> Gradient | None:
        losses: list[float] = []
        profiles: list[Profile | None] = []
        grads, ends = [], []
        for block in self.blocks:
            batch = merged(batches[block.rows], block.model.each_step, windows, self.drops)
            if batch is None or (windows.watch and not self._end_alike(block, batch)):
                return None
            block.model.carried = self.carried(block)
            loss_K, grad_KN, seen = self.gradient_of(block, batch, windows)
            losses += loss_K.tolist()
            profiles += [None] * len(loss_K) if seen is None else [(seen[0], norms) for norms in seen[1]]
            grads.append(grad_KN)
            ends.append(block.model.carried.get(True))
        for block, states in zip(self.blocks, ends, strict=True):
            for module, own in zip(self.modules[block.rows], self.each(block, states), strict=True):
                module.model.carried |= {True: own} if own is not None else {}
        return Gradient(losses, torch.cat(grads) if len(grads) > 1 else grads[0], profiles)

    def _end_alike(self, block: Block, batch: Batch) -> bool:
        """Whether the answers of all trials are due at the same steps, so that all have the same lags."""
        lengths, gone = batch.lengths, missing(batch.targets)
        return all(
            bool((each == each[0]).all()) for each in (x.unflatten(0, (block.trials, -1)) for x in (lengths, gone))
        )

    def gradient_of(self, block: Block, batch: Batch, windows: Windows) -> tuple[Tensor, Tensor, Profile | None]:
        """Return mean losses (K), gradients (K, N) and the gradient by lag of a block's trials; the states that streams
        carry are left with its model."""
        trials = block.trials
        windows = windows._replace(trials=trials, watch=windows.watch and block.model.remembers)
        due_K = (~missing(batch.targets)).reshape(trials, -1).sum(1).clamp(min=1)
        parts: Callable[..., Parts] = by_window
        seen: Profile | None = None
        if block.model.stack.directions == 2:
            parts, windows = at_once, windows._replace(stride=None)
        terms_of, leaves = LOSSES[self.task.objective], list(block.weights.values())

        def loss_of(answers: Tensor, targets: Tensor) -> Tensor:
            return terms_of(answers, targets, reduction="none").reshape(trials, -1).sum(1)

        total_K, total_KN = due_K.new_zeros(trials, dtype=self.weights_KN.dtype), None
        for loss_K, told in parts(block.model, batch, loss_of, windows):
            if told is not None:  # its loss is a mean over the sequences of all trials
                profile = told()
                seen = profile[0], profile[1].reshape(trials, -1, len(profile[0])) * trials
            mean_K = loss_K / due_K
            found = torch.autograd.grad(mean_K.sum(), leaves, allow_unused=True)
            given = [torch.zeros_like(w) if g is None else g for g, w in zip(found, leaves, strict=True)]
            grad_KN = torch.cat([g.flatten(1) for g in given], 1)
            total_KN = grad_KN if total_KN is None else total_KN + grad_KN
            total_K = total_K + mean_K.detach()
        assert total_KN is not None
        return total_K, total_KN, seen

    def carried(self, block: Block) -> dict[bool, StackState]:
        """What streams carry into a block's batch, where all have begun."""
        known = [module.model.carried.get(True) for module in self.modules[block.rows]]
        states = [one for one in known if one is not None]
        if len(states) < len(known):
            return {}
        layers = zip(*states, strict=True)
        return {True: [tuple(torch.cat(parts) for parts in zip(*layer, strict=True)) for layer in layers]}

    def each(self, block: Block, states: StackState | None) -> list[StackState | None]:
        """States (N, H) of a block as those of each trial."""
        trials = block.trials
        if states is None:
            return [None] * trials
        split = [[part.unflatten(0, (trials, -1)).unbind(0) for part in state] for state in states]
        return [[tuple(part[k] for part in state) for state in split] for k in range(trials)]

    def begun(self, k: int) -> StackState:
        """The states from which the last backward pass of a trial's stream started."""
        block = next(block for block in self.blocks if block.rows.start <= k < block.rows.stop)
        own = self.each(block, block.model.began or None)[k - block.rows.start]
        return own or []

    @torch.no_grad()
    def step(self, rates: Mapping[int, float], grads_KN: Tensor) -> None:
        """Make the step of these trials, each of its own size and decay, by torch's own fused function."""
        groups: dict[tuple[float, float], list[int]] = {}
        for k, rate in rates.items():
            groups.setdefault((rate, self.modules[k].trial.weight_decay), []).append(k)
        weights, grads = self.weights_KN.unbind(0), grads_KN.unbind(0)
        moments = [moment.unbind(0) for moment in self.moments.values()]
        for (rate, decay), members in groups.items():
            own, found = [weights[k] for k in members], [grads[k] for k in members]
            how = self.optimizers[members[0]].param_groups[0]
            if self.kind == "adam":
                first, second = ([moment[k] for k in members] for moment in moments)
                beta1, beta2 = how["betas"]
                adam(
                    own, found, first, second, [], [self.steps[k] for k in members], fused=True, amsgrad=False,
                    beta1=beta1, beta2=beta2, lr=rate, weight_decay=decay, eps=how["eps"], maximize=False,
                    decoupled_weight_decay=how.get("decoupled_weight_decay", False),
                )  # fmt: skip
            else:
                sgd(
                    own, found, [None] * len(members), fused=True, weight_decay=decay, momentum=0.0, lr=rate,
                    dampening=0.0, nesterov=False, maximize=False,
                )  # fmt: skip

    @torch.no_grad()
    def step_where(self, going_K: Tensor, rate_K: Tensor, grads_KN: Tensor) -> None:
        """Make the step of the trials that go, all of it from memory."""
        if self.kind == "adam":
            how = self.optimizers[0].param_groups[0]
            moments, counts = self.moments, self.steps_K
            step.adam(self.weights_KN, grads_KN, moments, counts, rate_K, self.decay_K, going_K, how)
        else:
            step.sgd(self.weights_KN, grads_KN, rate_K, self.decay_K, going_K)
