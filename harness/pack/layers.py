"""The parts of a model for K trials at once: each stands in the place of one trial's part.

The batches of K trials are one batch of K * B sequences, trial after trial, whose weights differ from block to block.
Windows, streams, masks and states then need no other code: only what multiplies by a weight knows of the trials.

Shape legend: see harness/cells/base.py; N is K * B.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.cells.base import Kernel, State
from harness.errors import Fault, UserError
from harness.models.layer import Layer, Mark
from harness.models.sequence import SequenceModel
from harness.pack.dropping import Masks
from harness.pack.kernels import LOOPS, Loop, trial_by_trial

Weights = dict[str, Tensor]
"""Name of a parameter, as in one trial's model, to (K, *its shape)."""


def loop_of(layer: Layer, device: torch.device, dtype: torch.dtype) -> Loop | None:
    """Return what makes all steps of a layer at once on this device; None: they are made trial by trial, or one by one
    by autograd."""
    if layer.kernel != "fused":
        return None
    if device.type == "cuda":
        try:
            from harness.pack import on_gpu
        except ModuleNotFoundError as error:
            need = "packed trials on a GPU run in Triton, which is not installed"
            raise UserError(Fault(need, remedy="pip install 'rnn-harness[gpu]'")) from error
        if on_gpu.fits(layer.cell.gates, layer.hidden, dtype, on_gpu.room(device)):
            return on_gpu.LOOPS.get(str(layer.cell.fused))
    return LOOPS.get(str(layer.cell.fused))


class PackedLayer(nn.Module):
    """Stands in a layer's place: one cell, K sets of weights, unrolled over the steps that it is given."""

    def __init__(self, layer: Layer, weights: Weights, drops: bool = False) -> None:
        super().__init__()
        self.rows_first = drops and layer.kernel != "fused"  # in memory, as alone: masks are drawn in that order
        self.cell, self.hidden, self.weights = layer.cell, layer.hidden, weights
        self.kernel: Kernel = "loop"
        device = weights["weight_ih"].device
        self.loop = loop_of(layer, device, weights["weight_ih"].dtype)
        self.by_trial = layer.kernel == "fused" and self.loop is None and device.type == "cpu"

    @property
    def unrolls(self) -> str:
        """The kind of kernel that does; "" for that of each trial alone."""
        return self.loop.kind if self.loop else "" if self.by_trial else "Python loop"

    def zero_state(self, rows: int) -> State:
        """Return the state before the first step: zeros, one (N, H) per state of the cell."""
        return tuple(self.weights["weight_ih"].new_zeros(rows, self.hidden) for _ in self.cell.states)

    def forward(
        self, x_NTD: Tensor, state: State, pieces: Sequence[int], padding_NT1: Tensor | None = None
    ) -> tuple[Tensor, State, list[Mark]]:
        """As Layer.forward."""
        weight_KGD = self.weights["weight_ih"]
        if padding_NT1 is not None:
            off_KG1 = weight_KGD.new_full((*weight_KGD.shape[:2], 1), -torch.finfo(weight_KGD.dtype).max / 2)
            x_NTD, weight_KGD = torch.cat([x_NTD, padding_NT1], 2), torch.cat([weight_KGD, off_KG1], 2)
        outputs, marks, step = [], [], 0
        for part_NPD in x_NTD.split(list(pieces), 1) if len(pieces) > 1 else [x_NTD]:
            out_NPH, others = self._unroll(part_NPD, state, weight_KGD)
            if not self.cell.states:
                return out_NPH, (), []
            state = (out_NPH[:, -1], *others)
            step += part_NPD.shape[1]
            outputs.append(out_NPH)
            marks.append(Mark(step, out_NPH, others))
        return (outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1)), state, marks

    def _unroll(self, x_NTD: Tensor, state: State, weight_KGD: Tensor) -> tuple[Tensor, State]:
        trials = len(weight_KGD)
        x_KBTD = x_NTD.unflatten(0, (trials, -1))
        begin = tuple(s.unflatten(0, (trials, -1)) for s in state)
        if self.by_trial:
            four = [weight_KGD, *(self.weights[name] for name in ("weight_hh", "bias_ih", "bias_hh"))]
            out_TKBH, others = trial_by_trial(str(self.cell.fused), x_KBTD, begin, four)
        else:
            out_TKBH, others = self._together(x_KBTD.transpose(1, 2), begin, weight_KGD)
        out_NTH = out_TKBH.flatten(1, 2).transpose(0, 1)
        return out_NTH.contiguous() if self.rows_first else out_NTH, tuple(s.flatten(0, 1) for s in others)

    def _together(self, x_KTBD: Tensor, begin: State, weight_KGD: Tensor) -> tuple[Tensor, State]:
        bias_KG = self.weights["bias_ih"]
        if self.loop and self.loop.folds:
            bias_KG = bias_KG + self.weights["bias_hh"]
        wx = torch.baddbmm(bias_KG[:, None], x_KTBD.flatten(1, 2), weight_KGD.mT)
        wx_KTBG = wx.unflatten(1, x_KTBD.shape[1:3])
        if not self.loop:
            return self._steps(wx_KTBG, begin)
        recurrent = None if self.loop.folds else self.weights["bias_hh"]
        return self.loop.run(wx_KTBG, begin, self.weights["weight_hh"], recurrent)

    def _steps(self, wx_KTBG: Tensor, state: State) -> tuple[Tensor, State]:
        # vectors are (K, 1, G), so that they go with the rows of a batch
        stacked = {name: w if w.ndim == 3 else w[:, None] for name, w in self.weights.items()}
        weights, outputs = SimpleNamespace(**stacked), []
        if not self.cell.states:
            out_KTBH, _ = self.cell.step(SimpleNamespace(**{n: w[:, None] for n, w in stacked.items()}), wx_KTBG, ())
            return out_KTBH.transpose(0, 1), ()
        for wx_KBG in wx_KTBG.unbind(1):
            h_KBH, state = self.cell.step(weights, wx_KBG, state)
            outputs.append(h_KBH)
        return torch.stack(outputs), tuple(s.view_as(s) for s in state[1:])


class PackedEmbedding(nn.Module):
    """Tokens (N, T) or (N, T, columns) to features: K tables, one below the other."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, tokens: Tensor) -> Tensor:
        """Look each trial's tokens up in its own table."""
        table_KVE = self.weights["weight"]
        trials, rows = table_KVE.shape[:2]
        first_K = torch.arange(trials, device=tokens.device) * rows
        shifted = tokens.unflatten(0, (trials, -1)) + first_K.view(-1, *[1] * tokens.ndim)
        return F.embedding(shifted.flatten(0, 1), table_KVE.flatten(0, 1))


class PackedHead(nn.Module):
    """Hidden units (N, ..., H) to answers (N, ..., O), linearly."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.weights = weights

    @property
    def weight(self) -> Tensor:
        """(K, O, H): whose dtype is the model's."""
        return self.weights["weight"]

    def forward(self, hidden: Tensor) -> Tensor:
        """Multiply each trial's rows by its own weights."""
        rows_KRH = hidden.reshape(len(self.weight), -1, hidden.shape[-1])
        out_KRO = torch.baddbmm(self.weights["bias"][:, None], rows_KRH, self.weight.mT)
        return out_KRO.reshape(*hidden.shape[:-1], -1)


def packed_model(model: SequenceModel, weights: Weights, masks: Masks | None = None) -> SequenceModel:
    """Return a model for K trials in the place of one trial's `model`, which is used up. Its parameters are `weights`,
    and each of its batches is one of K * B sequences. `masks` drop units, where any are dropped."""
    model.stack.drop = masks or model.stack.drop

    def of(prefix: str) -> Weights:
        return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}

    for index, row in enumerate(model.stack.rows):
        for place, layer in enumerate(list(row)):
            row[place] = cast(Layer, PackedLayer(layer, of(f"stack.layers.{index}.{place}."), masks is not None))
    if model.encoder is not None:
        model.encoder = cast(nn.Embedding, PackedEmbedding(of("encoder.")))
    model.head = cast(nn.Linear, PackedHead(of("head.")))
    return model
