"""What an update costs through the harness, every probe on at its default sampling, beside a bare torch loop.

    python benchmarks/overhead/update.py [--updates 400] [--hidden 128] [--batch 32] [--steps 64] [--cell lstm]
        [--device cuda]

Both do the same mathematics on the same batches: forward, backward, clip, Adam. They run interleaved in one process,
one update of one and one of the other, A B A B: the bare update runs inside the data loader that feeds Lightning, so
the time from one batch handed out to the next one asked for is all that the harness does with it, Lightning included.
Both need a batch: it is made once, and the time that takes counts on both sides.
Prints the ratio of the medians, the quartiles of the paired ratios, and the ratio of the means, in which each update
counts that a probe looks into, with a bootstrap interval (95 %) over stretches of updates with one such in each.
`--device cuda` (`--hidden 1024`: is a single large LSTM as fast as cuDNN alone?) waits for the GPU after each update of
either side. Never run on a GPU yet.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from harness import engine
from harness.data.batches import Batch, TrainBatches
from harness.data.groups import Groups
from harness.data.passes import Passes
from harness.probes import attach
from harness.training.module import RecurrentModule
from harness.training.workers import Workers
from harness.trial import Trial

WARMUP = 20
CLOCK = time.perf_counter
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


def after_all() -> float:
    """The time when the GPU has done all that it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


class Bare:
    """The loop that a user would write: torch's own layer, loss, clipping and optimiser, and nothing else."""

    def __init__(self, trial: Trial, features: int, outputs: int, device: str) -> None:
        kind = {"lstm": nn.LSTM, "gru": nn.GRU, "elman": nn.RNN}[trial.cell["name"]]
        self.device = device
        self.layer = kind(features, trial.hidden_size, batch_first=True).to(device)
        self.head = nn.Linear(trial.hidden_size, outputs).to(device)
        self.weights = [*self.layer.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.Adam(self.weights, lr=trial.learning_rate, fused=True)
        self.clip = trial.clip_norm

    def update(self, batch: Batch) -> float:
        """One update; returns the loss, as any loop that logs it does."""
        self.optimizer.zero_grad()
        out_BTH, _ = self.layer(batch.inputs.to(self.device))
        loss = nn.functional.mse_loss(self.head(out_BTH[:, -1]), batch.targets.to(self.device))
        loss.backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.weights, self.clip)
        self.optimizer.step()
        return float(loss.detach())


class Interleaved:
    """Hands batches to Lightning; before each one it runs and times a bare update on the same batch."""

    def __init__(self, batches: TrainBatches, bare: Bare) -> None:
        self.batches, self.bare = batches, bare
        self.bare_seconds: list[float] = []
        self.harness_seconds: list[float] = []
        self.making: list[float] = []  # a batch from the arrays, once, for both sides

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        batches, handed = iter(self.batches), 0.0
        for number in range(len(self.batches)):
            asked = CLOCK()
            batch = next(batches)
            made = CLOCK()
            if number:
                self.harness_seconds.append(asked - handed + self.making[-1])
            self.making.append(made - asked)
            self.bare.update(batch)
            self.bare_seconds.append(CLOCK() - asked)
            handed = CLOCK()
            yield batch


def measure(trial: Trial, device: str) -> dict[str, Any]:
    """Run both, return medians in seconds and the quartiles of the paired ratio."""
    task = trial.build_task()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    examples = task.load("train", 0)
    workers = Workers(device=device)
    module = RecurrentModule(trial, task, trial.build_cell(), workers)
    loader = Interleaved(
        TrainBatches(examples, trial.batch_size, Passes(len(examples), 0), trial.examples or 0),
        Bare(trial, task.shape.features, task.shape.outputs, device),
    )
    groups = Groups(loader, evaluations=1)
    engine.make_trainer(attach(trial), groups, workers=workers).fit(module, groups)
    a, b = np.array(loader.harness_seconds[WARMUP:]), np.array(loader.bare_seconds[WARMUP : len(loader) - 1])
    pairs = a[: len(b)] / b[: len(a)]
    low, middle, high = np.quantile(pairs, [0.25, 0.5, 0.75])
    return {
        "harness_ms": float(np.median(a) * 1e3),
        "bare_ms": float(np.median(b) * 1e3),
        "ratio_of_medians": float(np.median(a) / np.median(b)),
        "paired_ratio_q25": float(low),
        "paired_ratio_median": float(middle),
        "paired_ratio_q75": float(high),
        "mean_ratio": float(a.mean() / b.mean()),
        "mean_ratio_interval": interval(a[: len(b)], b[: len(a)], trial.probe_every),
        "making_ms": float(np.median(loader.making) * 1e3),
    }


def interval(a: np.ndarray, b: np.ndarray, stretch: int) -> list[float]:
    """Return the bootstrap interval (95 %) of mean a / mean b, drawing whole stretches."""
    count = max(1, len(a) // stretch)
    size = len(a) // count
    sums = [side[: count * size].reshape(count, size).sum(1) for side in (a, b)]
    drawn = np.random.default_rng(0).integers(count, size=(10_000, count))
    ratios = sums[0][drawn].sum(1) / sums[1][drawn].sum(1)
    return [float(end) for end in np.quantile(ratios, [0.025, 0.975])]


def grown(trial: Trial, which: str) -> int:
    """Bytes by which the largest resident set of this process grew over 60 updates of one kind."""
    task = trial.build_task()
    torch.set_num_threads(1)
    examples = task.load("train", 0)
    module = RecurrentModule(trial, task, trial.build_cell())
    batches = TrainBatches(examples, trial.batch_size, Passes(len(examples), 0), 60 * trial.batch_size)
    bare = Bare(trial, task.shape.features, task.shape.outputs, "cpu")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if which == "bare":
        for batch in batches:
            bare.update(batch)
    else:
        groups = Groups(batches, evaluations=1)
        engine.make_trainer(attach(trial), groups).fit(module, groups)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def memory(arguments: list[str]) -> dict[str, float]:
    """Peak memory of a process of each kind, everything imported in both: growth over training, and the ratio."""
    sizes = {}
    for which in ("bare", "harness"):
        command = [sys.executable, __file__, *arguments, "--only", which]
        sizes[which] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    whole = sizes["harness"]["peak"] / sizes["bare"]["peak"]
    return {f"{which}_grown_bytes": size["grown"] for which, size in sizes.items()} | {"peak_memory_ratio": whole}


def main() -> None:
    """Parse, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("updates", 400), ("hidden", 128), ("batch", 32), ("steps", 64), ("probe_every", 50)):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--cell", default="lstm", choices=["lstm", "gru", "elman"])
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"], help="cpu: on a machine busy with others")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="cuda: by the wall clock")
    parser.add_argument("--only", choices=["bare", "harness"], help="60 updates of one kind; prints its memory")
    given = parser.parse_args()
    trial = Trial(
        task={"name": "adding", "length": given.steps, "train_examples": 2_000},
        cell={"name": given.cell},
        hidden_size=given.hidden,
        batch_size=given.batch,
        examples=given.updates * given.batch,
        clip_norm=1.0,
        probe_every=given.probe_every,
    ).normalised()
    global CLOCK  # noqa: PLW0603  one clock for both, chosen once
    CLOCK = time.process_time if given.clock == "cpu" else time.perf_counter
    if given.device == "cuda":
        CLOCK = after_all
    if given.only:
        growth = grown(trial, given.only)
        print(json.dumps({"grown": growth, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
        return
    grew = memory(sys.argv[1:]) if given.device == "cpu" else {"gpu": torch.cuda.get_device_name()}
    print(json.dumps(vars(given) | measure(trial, given.device) | grew))


if __name__ == "__main__":
    main()
