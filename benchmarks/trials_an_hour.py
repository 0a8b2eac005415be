"""How many trials an hour one machine trains: one at a time, side by side, and packed; each by `harness run` itself.

    python benchmarks/trials_an_hour.py [--device cpu|cuda] [--cell lstm] [--hidden 128] [--batch 32] [--steps 64]
        [--updates 200] [--trials 32] [--at-once 8] [--pack 16] [--rounds 3]

On a GPU (`--device cuda`): `one` is a trial at a time on the whole of it, where an LSTM or a GRU is cuDNN's kernel;
`side by side` are --at-once trials, each in a process of its own with that share of the GPU, as Ray gives it out;
`packed` are trials of one shape as one program on the whole of it. On CPUs: one core, all cores, packs on all cores.
They are run in turn, A B C, B C A, into folders of their own. The rate is that of the command's trials from the start
of the first to the end of the last one's record, so that what every command pays once (Ray's start and end) is in none
of them; `command` is by its whole time. Ratios are of the same round. Prints one line of JSON for each way, then the
ratios, after a line with the machine, its GPUs with their clocks as found, and versions; with a GPU they go to
results/reference/trials-an-hour-<gpu>.jsonl as well. Never run on a GPU yet.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from packed import gpu_facts, versions

from harness import machine
from harness.errors import UserError
from harness.launch import gpus
from harness.storage import store


def benchmark(given: argparse.Namespace, folder: Path) -> Path:
    """Write the benchmark: trials of one shape that differ in their seed."""
    asked = {
        "question": "How many trials an hour?",
        "seeds": given.trials,
        "set": {
            "hidden_size": given.hidden, "batch_size": given.batch, "examples": given.batch * given.updates,
            "clip_norm": 1.0, "evaluations": 1,
        },
        "sweep": {
            "task": {"name": "adding", "length": given.steps, "train_examples": 2_000},
            "cell": given.cell,
        },
    }  # fmt: skip
    path = folder / "trials.yaml"
    path.write_text(json.dumps(asked))  # JSON is YAML
    return path


def ways(given: argparse.Namespace) -> dict[str, list[str]]:
    """The options of `harness run` for each way."""
    packed = ["--pack", str(given.pack)]
    if given.device == "cpu":
        return {"one": ["--max-concurrent", "1"], "side by side": [], "packed": packed}
    share = f"{1 / given.at_once:.4f}"
    return {
        "one": [gpus.OPTION, "1", "--max-concurrent", "1"],
        "side by side": [gpus.OPTION, share, "--max-concurrent", str(given.at_once)],
        "packed": [gpus.OPTION, "1", *packed],
    }


def measured(file: Path, results: Path, options: Sequence[str]) -> dict[str, Any]:
    """Run the command once; return its rates, and what its records say ran."""
    words = [sys.executable, "-m", "harness", "run", str(file), "--results", str(results), "--wandb", "off", *options]
    begin = time.perf_counter()
    done = subprocess.run([*words, "--no-weights"], capture_output=True, text=True, check=False)
    took = time.perf_counter() - begin
    if done.returncode:
        sys.exit(f"{shlex.join(words)} ended with {done.returncode}\n{done.stderr[-3000:]}")
    records = store.open_folder(results / file.stem)
    starts = [datetime.fromisoformat(record.started).timestamp() for record in records]
    ends = [path.stat().st_mtime for path in results.rglob("*.parquet")]  # when each was stored
    return {
        "trials_an_hour": 3600 * len(records) / (max(ends) - min(starts)),
        "command": 3600 * len(records) / took,
        "kernels": sorted({record.kernel for record in records}),
        "device": records[0].device,
        "loss": statistics.mean(record.train_loss for record in records),
    }


def main() -> None:
    """Parse, measure in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--cell", default="lstm", choices=["lstm", "gru", "elman"])
    sizes = {
        "hidden": 128,
        "batch": 32,
        "steps": 64,
        "updates": 200,
        "trials": 32,
        "at_once": 8,
        "pack": 16,
        "rounds": 3,
    }
    for name, size in sizes.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=size)
    given = parser.parse_args()
    if given.device == "cuda":
        gpus.check_here(1.0)
    gpu = gpu_facts() if given.device == "cuda" else {}
    lines: list[dict[str, Any]] = [versions() | {"cores": machine.cpu_count()} | ({"gpu": gpu} if gpu else {})]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ways(given)}
    with tempfile.TemporaryDirectory() as folder:
        file, names = benchmark(given, Path(folder)), list(found)
        for number in range(given.rounds):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                results = Path(folder) / f"{number}-{name.replace(' ', '-')}"
                found[name].append(measured(file, results, ways(given)[name]))
    for name, runs in found.items():
        rates = {key: [run[key] for run in runs] for key in ("trials_an_hour", "command", "loss")}
        lines.append({"way": name, **rates, "kernels": runs[0]["kernels"], "device": runs[0]["device"]})
    for other in ("one", "side by side"):
        pairs = zip(found["packed"], found[other], strict=True)
        ratios = [a["trials_an_hour"] / b["trials_an_hour"] for a, b in pairs]
        lines.append({"packed against": other, "ratio": [statistics.median(ratios), min(ratios), max(ratios)]})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    print(text, end="")
    if gpu:
        place = Path(__file__).parents[1] / "results" / "reference"
        (place / f"trials-an-hour-{machine.slug(gpu['name'])}.jsonl").write_text(text)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
