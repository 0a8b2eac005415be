"""A bare torch loop: python bare.py FOLDER RUN... prints one JSON line for each run (work.py)."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from torch import nn
from work import Net, Work, accuracy, split


def train(folder: Path, run: str) -> dict[str, float]:
    """Train once, evaluate as often as asked, and return seconds and scores."""
    begin, work = time.perf_counter(), Work.read(folder, run)
    torch.manual_seed(work.seed)
    (x, y), valid, test = split(folder, "train"), split(folder, "valid"), split(folder, "test")
    net = Net(work, x.shape[-1])
    optimizer = torch.optim.Adam(net.parameters(), lr=work.rate, fused=True)
    order, losses = torch.empty(0, dtype=torch.long), []
    for update in range(work.updates):
        if len(order) < work.batch:
            order = torch.cat([order, torch.randperm(len(x))])
        rows, order = order[: work.batch], order[work.batch :]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), work.clip)
        optimizer.step()
        losses.append(loss.item())
        if (update + 1) % max(1, work.updates // work.evaluations) == 0:
            accuracy(net, *valid)
    score = accuracy(net, *test)
    return {"seconds": time.perf_counter() - begin, "score": score, "loss": sum(losses[-20:]) / 20}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for one in sys.argv[2:]:
        print(json.dumps(train(Path(sys.argv[1]), one)), flush=True)
