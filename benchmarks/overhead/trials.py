"""What the control plane adds to a trial: many short real trials through `harness run`, by their own clocks.

    python benchmarks/overhead/trials.py --trials 1000
    python benchmarks/overhead/trials.py --trials 1000 --search asha

A trial's own seconds (data, training, evaluation) stand in its record; what lies between a record and the next on the
same core is Tune's scheduling, the claim, the weights' and the record's way to the disk. Starting Ray and importing
torch happen once and are left out: the clock runs from the 50th record to the last one. Memory is the command's own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import store

FIRST = 50
"""Records before the clock starts: every worker has imported everything by then."""

BENCHMARK = """\
question: What does the control plane add to a trial?
name: many
seeds: {seeds}
set: {{hidden_size: 4, batch_size: 16, examples: {examples}, evaluations: 4, probe_every: 1000}}
sweep:
  task: {{name: adding, length: 5, train_examples: 64, valid_examples: 32, test_examples: 32}}
  cell: elman
{search}"""
SEARCH = """\
search: {kind: asha, tries: 10, space: {learning_rate: {from: 0.0001, to: 0.1, scale: log}}}
"""


def memory(process: subprocess.Popen[bytes]) -> float:
    """Return the resident MB of the command."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS")) / 1024


def main() -> None:
    """Run, watch, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--examples", type=int, default=1024, help="of each trial: how long it takes")
    parser.add_argument("--search", choices=["grid", "asha"], default="grid")
    parser.add_argument("--wandb", choices=["off", "offline"], default="off")
    parser.add_argument("--at-once", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, results, seeds = Path(folder, "many.yaml"), Path(folder, "results"), given.trials
        search, seeds = (SEARCH, seeds // 10) if given.search == "asha" else ("", seeds)
        path.write_text(BENCHMARK.format(seeds=seeds, examples=given.examples, search=search))
        command = [sys.executable, "-m", "harness", "run", str(path), "--results", str(results)]
        command += ["--max-concurrent", str(given.at_once), "--wandb", given.wandb]
        begin = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            seen = watched(process, results / "many", given.trials)
        whole = time.monotonic() - begin
        report(results / "many", seen, whole, given.at_once)


def watched(process: subprocess.Popen[bytes], folder: Path, trials: int) -> dict[int, float]:
    """Return the memory of the command by how many records there were, from time to time."""
    seen: dict[int, float] = {}
    while process.poll() is None:
        count = sum(1 for _ in folder.glob("*/*.parquet"))
        if count >= FIRST:
            seen[count] = memory(process)
        time.sleep(1)
    return seen


def report(folder: Path, seen: dict[int, float], whole: float, at_once: int) -> None:
    """Print what came of it."""
    ended = {path.name.removesuffix(".parquet"): path.stat().st_mtime for path in folder.glob("*/*.parquet")}
    records = sorted(store.open_folder(folder), key=lambda record: ended[record.trial_id])
    counted = records[FIRST:]
    wall = ended[records[-1].trial_id] - ended[records[FIRST - 1].trial_id]
    own = sum(record.seconds for record in counted)
    each, added = own / len(counted), (wall * at_once - own) / len(counted)
    print(f"{len(records)} trials, {at_once} at once, in {whole:.1f} s")
    print(f"a trial: {1000 * each:.0f} ms of its own, {1000 * added:.0f} ms added on its core")
    print(f"overhead: {added / each:.1%} of these trials' own time, {added:.1%} of a second")
    marks = sorted(seen)
    some = [marks[0], next(count for count in marks if count >= 100), marks[-1]]
    print("memory of the command: " + ", ".join(f"{seen[count]:.0f} MB at {count} trials" for count in some))


if __name__ == "__main__":
    main()
