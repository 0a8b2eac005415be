"""What the control plane adds to a trial: many short real trials through `harness run`, on Ray and in one process.

    python benchmarks/overhead/trials.py --trials 1000
    python benchmarks/overhead/trials.py --trials 1000 --search asha

Counted are CPU seconds of every process of the command, by kind: the command itself, Ray's own processes, the workers.
On cores that are all at work the sum decides how long a trial takes, and unlike wall time it does not depend on what
else the machine is doing. The same trials in one process are what they cost by themselves. Starting Ray and importing
torch happen once and are left out: the count runs from the 50th record to the last one. Wall time is printed too.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

FIRST = 50
"""Records before the count starts: every worker has imported everything by then."""
KINDS = ("command", "ray", "workers")
TICK = os.sysconf("SC_CLK_TCK")

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


class Seen(NamedTuple):
    """At one time: records, seconds of CPU by kind of process, resident MB of the command."""

    at: float
    records: int
    cpu: dict[str, float]
    memory: float


def look(root: int, folder: Path, known: dict[int, tuple[str, float]]) -> Seen | None:
    """Look at the command and everything it has started; None: it is over. `known`: kind and seconds of each
    process that was ever seen, for those that have ended count too."""
    parents, found = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            kind = (path / "cmdline").read_bytes()[:40]
        except OSError:  # it has ended meanwhile
            continue
        pid = int(path.name)
        parents[pid] = int(fields[1])
        found[pid] = "workers" if kind.startswith(b"ray::") else "ray", sum(map(int, fields[11:13])) / TICK
    if root not in found:
        return None
    for pid, (kind, seconds) in found.items():
        above = pid
        while above not in (root, 0, 1) and above in parents:
            above = parents[above]
        if above == root:
            known[pid] = "command" if pid == root else kind, seconds
    cpu = {kind: sum(seconds for own, seconds in known.values() if own == kind) for kind in KINDS}
    status = Path(f"/proc/{root}/status").read_text()
    memory = next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)
    return Seen(time.monotonic(), sum(1 for _ in folder.glob("*/*.parquet")), cpu, memory)


def watched(command: list[str], folder: Path, seconds: float) -> list[Seen]:
    """Run the command, and look at it four times a second; stop it after so many seconds."""
    seen, known, begin = [], dict[int, tuple[str, float]](), time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if now := look(process.pid, folder, known):
                seen.append(now)
            if time.monotonic() - begin > seconds:
                process.send_signal(signal.SIGINT)
                begin = float("inf")
            time.sleep(0.25)
    counted = [each for each in seen if each.records >= FIRST and each.memory]
    most = max(range(len(counted)), key=lambda k: counted[k].records)  # then they are moved into one file, and reported
    return counted[: most + 1]


def measure(given: argparse.Namespace, trials: int, on: str) -> list[Seen]:
    """Run so many trials there."""
    with tempfile.TemporaryDirectory() as folder:
        path, results = Path(folder, "many.yaml"), Path(folder, "results")
        asha = given.search == "asha" and on == "tune"
        text = BENCHMARK.format(seeds=trials // 10 if asha else trials, examples=given.examples, search=SEARCH * asha)
        path.write_text(text)
        command = [sys.executable, "-m", "harness", "run", str(path), "--results", str(results), "--on", on]
        command += ["--wandb", given.wandb] + (["--max-concurrent", str(given.at_once)] if on == "tune" else [])
        return watched(command, results / "many", given.seconds)


def alone(given: argparse.Namespace) -> float:
    """Return the CPU seconds of a trial in one process."""
    seen = measure(given, FIRST + max(50, given.trials // 10), "inline")
    first, last = seen[0], seen[-1]
    return (sum(last.cpu.values()) - sum(first.cpu.values())) / (last.records - first.records)


def main() -> None:
    """Run, watch, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--examples", type=int, default=1024, help="of each trial: how long it takes")
    parser.add_argument("--search", choices=["grid", "asha"], default="grid")
    parser.add_argument("--wandb", choices=["off", "offline"], default="off")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=600, help="after which each of the two runs is stopped")
    parser.add_argument("--own", type=float, help="ms of CPU of a trial in one process, where it is known")
    given = parser.parse_args()
    own = given.own / 1000 if given.own else alone(given)
    print(f"in one process: {1000 * own:.0f} ms of CPU a trial", flush=True)
    seen = measure(given, given.trials, "tune")
    first, last = seen[0], seen[-1]
    count = last.records - first.records
    each = {kind: (last.cpu[kind] - first.cpu[kind]) / count for kind in last.cpu}
    added = sum(each.values()) - own
    told = ", ".join(f"{kind} {1000 * value:.0f} ms" for kind, value in each.items())
    print(f"on Ray, {given.at_once} at once, {last.records} trials: {1000 * sum(each.values()):.0f} ms ({told})")
    print(f"added: {1000 * added:.0f} ms of CPU a trial, {added / own:.0%} of these, {added:.1%} of one of a second")
    print(f"wall: {1000 * (last.at - first.at) / count:.0f} ms a trial on {given.at_once} cores")
    marks = [first, *[mark for mark in seen if mark.records >= 100][:1], last]
    print("memory of the command: " + ", ".join(f"{mark.memory:.0f} MB at {mark.records} trials" for mark in marks))


if __name__ == "__main__":
    main()
