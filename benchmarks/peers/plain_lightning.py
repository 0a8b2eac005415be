"""A plain Lightning script, as its documentation begins: python plain_lightning.py FOLDER SEED..."""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset
from work import Net, Work, split


class Module(pl.LightningModule):
    """The same network, loss and optimiser, with what Lightning's users log."""

    def __init__(self, work: Work, features: int) -> None:
        super().__init__()
        self.net, self.work = Net(work, features), work
        self.losses: list[torch.Tensor] = []

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        """Loss of a batch."""
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        self.losses.append(loss.detach())
        return loss

    def _accuracy(self, name: str, batch: list[torch.Tensor]) -> None:
        self.log(name, (self.net(batch[0]).argmax(-1) == batch[1]).float().mean())

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        """Accuracy of a batch."""
        self._accuracy("valid", batch)

    def test_step(self, batch: list[torch.Tensor], _: int) -> None:
        """Accuracy of a batch."""
        self._accuracy("test", batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.work.rate)


def train(folder: Path, run: str, root: str) -> dict[str, float]:
    """Train once; an epoch is as long as the budget, drawn from the training split as the bare loop draws."""
    begin, work = time.perf_counter(), Work.read(folder, run)
    pl.seed_everything(work.seed, verbose=False)
    sets = {name: TensorDataset(*split(folder, name)) for name in ("train", "valid", "test")}
    module = Module(work, sets["train"].tensors[0].shape[-1])
    sampler = RandomSampler(sets["train"], num_samples=work.updates * work.batch)
    loader = DataLoader(sets["train"], work.batch, sampler=sampler)
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, max_epochs=1, gradient_clip_val=work.clip, default_root_dir=root,
        val_check_interval=max(1, work.updates // work.evaluations), enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, loader, DataLoader(sets["valid"], 512))
    score = trainer.test(module, DataLoader(sets["test"], 512), verbose=False)[0]["test"]
    loss = float(torch.stack(module.losses[-20:]).mean())
    return {"seconds": time.perf_counter() - begin, "score": score, "loss": loss}


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    for one in sys.argv[2:]:
        print(json.dumps(train(Path(sys.argv[1]), one, sys.argv[1])), flush=True)
