"""What each peer is given: a folder with `work.json` (sizes) and `data.npz` (splits), so that all train on the same.

Nothing of the harness is imported by those that read it; only `write` asks its tasks for their data.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class Work:
    """Sizes of one training run."""

    hidden: int
    batch: int
    updates: int
    evaluations: int
    rate: float
    clip: float
    outputs: int
    seed: int = 0
    cell: str = "lstm"

    @classmethod
    def read(cls, folder: Path, run: str = "0") -> Work:
        """Return what a folder asks for, of a `run` that is a seed, or a cell and a seed: gru-3."""
        cell, _, seed = run.rpartition("-")
        own = {"seed": int(seed)} | ({"cell": cell} if cell else {})
        return cls(**json.loads((folder / "work.json").read_text()) | own)


def write(folder: Path, work: Work, task: object) -> None:
    """Write the work and the splits of one of the harness's tasks."""
    parts = {split: task.load(split, 0) for split in ("train", "valid", "test")}  # type: ignore[attr-defined]
    arrays = {f"{split}_{name}": getattr(part, name) for split, part in parts.items() for name in ("inputs", "targets")}
    np.savez(folder / "data.npz", **arrays)
    (folder / "work.json").write_text(json.dumps(asdict(work)))


def split(folder: Path, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs (N, T, F) and targets (N,) of a split."""
    with np.load(folder / "data.npz") as data:
        inputs, targets = (torch.from_numpy(data[f"{name}_{part}"]) for part in ("inputs", "targets"))
    return inputs.float(), targets.long()


class Net(nn.Module):
    """A recurrent layer read to its end, and a linear layer: what anybody would write."""

    def __init__(self, work: Work, features: int) -> None:
        super().__init__()
        kinds = {"elman": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
        self.layer = kinds[work.cell](features, work.hidden, batch_first=True)
        self.head = nn.Linear(work.hidden, work.outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, T, F) -> logits (B, O)."""
        out_BTH, _ = self.layer(inputs)
        return self.head(out_BTH[:, -1])


def accuracy(net: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, batch: int = 512) -> float:
    """Share of a split that is named rightly."""
    with torch.no_grad():
        right = [(net(x).argmax(-1) == y).sum() for x, y in zip(inputs.split(batch), targets.split(batch), strict=True)]
    return float(torch.stack(right).sum() / len(targets))
