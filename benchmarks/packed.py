"""How much faster K trials of one shape train as one program than one by one, on this machine.

    python benchmarks/packed.py [--trials 16] [--batch 32] [--steps 64] [--hidden 16 32] [--cells elman gru lstm]
        [--layers 2 --dropout 0.2]

`update` is a whole update with its optimiser: forward, backward, clip and step; one by one and packed in turn, A B A
B, in one process, on random numbers, in time of the CPU. `trial` is the same within whole trials, with all the
harness does with it: batches, probes at their default sampling, Lightning. It is the time of training of a trial
alone over that of a trial in a pack, by the wall clock, in turn as well. Medians, and the smallest and largest of the
rounds. `auto` is what `--pack auto` would do. One line of JSON for each shape.

`--device cuda` measures updates on a GPU: one by one by cuDNN, packed by one Triton program for each trial, and
`captured`, the same packed update as a CUDA graph; by the wall clock until the GPU has done all of it. The lines go to
results/reference/packed-<gpu>.jsonl as well, after one with the GPU, its clocks as they were found and after each
shape, driver, versions and this command. Never run on a GPU yet.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from harness import machine
from harness.engine import run_trial
from harness.errors import Fault, UserError
from harness.pack.calibrate import measure
from harness.pack.captured import graphs_of
from harness.pack.plan import WORTH
from harness.pack.run import run_pack
from harness.record import Record
from harness.training.keeper import Keeper
from harness.trial import Trial


def trial(given: argparse.Namespace, cell: str, hidden: int, seed: int = 0) -> Trial:
    """One of the trials; they differ in seed, learning rate and clip."""
    adding = {"length": given.steps, "train_examples": 2_000, "valid_examples": 50, "test_examples": 50}
    return Trial(
        task={"name": given.task} | (adding if given.task == "adding" else {}),
        cell={"name": cell},
        hidden_size=hidden,
        layers=given.layers,
        dropout=given.dropout,
        batch_size=given.batch,
        batching=given.batching,
        examples=given.batch * given.updates,
        evaluations=1,
        learning_rate=0.001 * (1 + seed % 4),
        clip_norm=1.0 if seed % 2 else None,
        seed=seed,
    ).normalised()


def within_trials(members: Sequence[Trial], rounds: int) -> list[float]:
    """Ratios of the times of training: two trials alone, then the pack, in turn."""
    ratios = []
    for _ in range(rounds):
        alone = [run_trial(one).train_seconds for one in members[:2]]
        packed: list[Record] = []

        def finished(one: Trial, record: Record, trained: bytes, into: list[Record] = packed) -> None:
            into.append(record)

        run_pack(members, "", [Keeper() for _ in members], finished)
        assert all(record.status == "ok" for record in packed)
        ratios.append(statistics.mean(alone) / statistics.mean(record.train_seconds for record in packed))
    return ratios


def gpu_facts() -> dict[str, Any]:
    """Which GPU, and what it says of itself now."""
    asked = "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit,temperature.gpu"
    command = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(zip(asked.split(","), told.stdout.splitlines()[0].split(", "), strict=True))


def versions() -> dict[str, Any]:
    """What the numbers are bound to."""
    known = machine.facts()
    packages = {"torch": known["packages"]["torch"], "triton": machine.version("triton"), "python": known["python"]}
    return {"machine": known["cpu"], "commit": machine.git_commit(), **packages, "command": shlex.join(sys.argv)}


def of_shape(given: argparse.Namespace, cell: str, hidden: int) -> dict[str, Any]:
    """Measure one shape."""
    members = [trial(given, cell, hidden, seed) for seed in range(given.trials)]
    graphs = graphs_of(torch.device(given.device))
    found = measure(members[0], given.trials, given.rounds, seconds=60, device=given.device, graphs=graphs)
    middle = statistics.median(found.ratios)
    line = {
        "task": given.task, "cell": cell, "hidden": hidden, "trials": given.trials, "batch": given.batch,
        "steps": members[0].build_task().shape.steps,
        "alone_ms": round(statistics.median(found.alone) / given.trials * 1e3, 3),
        "packed_ms": round(statistics.median(found.packed) * 1e3, 3),
        "update": [round(x, 2) for x in (middle, min(found.ratios), max(found.ratios))],
    }  # fmt: skip
    if found.captured:
        line["captured_ms"] = round(statistics.median(found.captured) * 1e3, 3)
        gains = [a / b for a, b in zip(found.alone, found.captured, strict=True)]
        line["captured"] = [round(x, 2) for x in (statistics.median(gains), min(gains), max(gains))]
    if given.device == "cpu":
        line["auto"] = "packs" if middle >= WORTH else "one by one"
    if given.trial_rounds and given.device == "cpu":
        within = within_trials(members, given.trial_rounds)
        line["trial"] = [round(x, 2) for x in (statistics.median(within), min(within), max(within))]
    return line


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("trials", 16),
        ("batch", 32),
        ("steps", 64),
        ("rounds", 15),
        ("updates", 150),
        ("layers", 1),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--hidden", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--cells", nargs="+", default=["elman", "gru", "lstm"])
    parser.add_argument("--task", default="adding", help="one whose sequences differ in length is measured on its data")
    parser.add_argument("--batching", choices=["shuffled", "by-length"], default="shuffled")
    parser.add_argument("--dropout", type=float, default=0.0, help="share of units dropped between two layers")
    parser.add_argument("--trial-rounds", type=int, default=3, help="0: updates alone are measured, as on a GPU")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        why = f"torch {torch.__version__} finds no GPU here ({', '.join(machine.gpu_names()) or 'nor does the driver'})"
        raise UserError(Fault(f"--device cuda: {why}", allowed="an NVIDIA GPU and a torch built for CUDA"))
    gpu = gpu_facts() if given.device == "cuda" else {}
    lines = [versions() | ({"gpu": gpu} if gpu else {})]
    for cell in given.cells:
        for hidden in given.hidden:
            lines.append(of_shape(given, cell, hidden) | ({"clock": gpu_facts()["clocks.sm"]} if gpu else {}))
            print(json.dumps(lines[-1]), flush=True)
    print(json.dumps(lines[0]))
    if gpu:
        place = Path(__file__).parents[1] / "results" / "reference" / f"packed-{machine.slug(gpu['name'])}.jsonl"
        place.write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
