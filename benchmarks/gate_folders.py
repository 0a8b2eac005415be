"""How often are two folders of results decided, and how often rightly? Real runs, every pair of them compared.

    python benchmarks/gate_folders.py --same 12 --slower 6 --on inline   # one trial at a time; without --on: by Ray
    python benchmarks/gate_folders.py --slower 2 --cell gru              # one cell alone is slower
    python benchmarks/gate_folders.py --read folder-series               # the table of what was run before

Runs of `harness run benchmarks/ci.yaml` by the commit that is checked out here, and by the slower tree of gate.py, take
turns; each is a folder, kept. Then each run of equal code is held against each other one, both ways round, and against
each slower one, as `harness compare` does it, three times: by the clock that it takes now; by CPU time, whatever share
of a core a trial had; and by the wall clock alone, as of records that have nothing else.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import permutations, product
from pathlib import Path

from gate import git, in_turn, tree_of

from harness.compare import folders
from harness.compare.result import Comparison
from harness.compare.timing import OPEN
from harness.record import Record
from harness.storage import store

Run = tuple[str, list[Record]]
CLOCKS = {
    "as it is": {},
    "CPU time of all": {"cpu_share": math.nan},
    "wall clock": {"cpu_share": math.nan, "update_cpu_seconds": []},
}
"""What is taken from the records before they are compared."""


def main() -> None:
    """Run a series, or read it again, and print what came of its pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--same", type=int, default=0, help="runs of the commit")
    parser.add_argument("--slower", type=int, default=0, help="runs of the slower tree")
    parser.add_argument("--percent", type=int, default=20, help="how much slower")
    parser.add_argument("--cell", default="", help="slow the updates of this cell alone")
    parser.add_argument("--on", default="", help="as of `harness run`: inline, or Ray where it is not given")
    parser.add_argument("--minutes", type=float, default=600, help="begin no run after so many")
    parser.add_argument("--keep", type=Path, default=Path("folder-series"), help="a folder for the results of each run")
    parser.add_argument("--read", type=Path, help="print the table of such a folder, and run nothing")
    told = parser.parse_args()
    told.keep = told.keep.resolve()  # each run stands in a tree of its own
    if told.read is None:
        run(told)
    print(table([*runs(told.read or told.keep)]))


def run(told: argparse.Namespace) -> None:
    """Run both kinds in turn, evenly spread."""
    end, commit = time.monotonic() + 60 * told.minutes, git("rev-parse", "HEAD")
    order = in_turn(told.same, told.slower)
    with tree_of(commit) as plain, tree_of(commit, told.percent, told.cell) as slow:
        for number, kind in enumerate(order):
            if time.monotonic() > end:
                return
            tree, what = (plain, "same") if kind == "same" else (slow, f"slower {told.percent} {told.cell}".strip())
            folder = told.keep / f"{what.replace(' ', '_')}-{int(time.time())}-{number:03d}"
            command = [sys.executable, "-m", "harness", "run", "benchmarks/ci.yaml", "--results", str(folder)]
            command += ["--on", told.on] if told.on else []
            env = os.environ | {"PYTHONPATH": str(tree)}
            done = subprocess.run(command, cwd=tree, env=env, check=True, capture_output=True, text=True)
            (folder / "told.txt").write_text(done.stdout + done.stderr)
            (folder / "run.json").write_text(json.dumps({"kind": what, "load": os.getloadavg()[0]}))
            print(f"{number + 1}/{len(order)} {what}: load {os.getloadavg()[0]:.1f}", flush=True)


def runs(folder: Path) -> Iterator[Run]:
    """Yield the kind and the records of each run of a series."""
    for path in sorted(folder.glob("*/run.json")):
        yield json.loads(path.read_text())["kind"], store.open_folder(str(path.parent / "ci"))


def table(found: list[Run]) -> str:
    """Verdicts on the pairs of each kind, by each clock."""
    same, rows = [records for kind, records in found if kind == "same"], [
        "| code | clock | runs | comparisons | alarms (3) | fine (0) | undecided (4) | times undecided | "
        "all variants: slower | faster | neither | undecided or none | ratios |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]  # fmt: skip
    for kind in dict.fromkeys(kind for kind, _ in found):
        other = [records for each, records in found if each == kind]
        for clock, without in CLOCKS.items():
            pairs = permutations(same, 2) if kind == "same" else product(same, other)
            compared = [folders.compare(*(_without(side, without) for side in pair), ("a", "b"), accept=True)
                        for pair in pairs]  # fmt: skip
            if compared:
                rows.append(f"| {kind} | {clock} | {len(other)} | {' | '.join(map(str, _row(compared)))} |")
    return "\n".join(rows)


def _without(records: Iterable[Record], changes: dict) -> list[Record]:
    return [record.replace(**changes) for record in records]


def _row(compared: list[Comparison]) -> list[object]:
    codes = [found.exit_code for found in compared]
    times = [line for found in compared for line in found.lines if line.kind == "time" and line.name != folders.ALL]
    whole = [line for found in compared for line in found.lines if line.name == folders.ALL]
    said = [line.verdict for line in whole]
    counts = [said.count(verdict) for verdict in ("slower", "faster", "not significant")]
    ratios = [line.timing.ratio for line in whole if line.timing]
    span = f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else "none"
    undecided = sum(line.verdict == OPEN for line in times) / len(times)
    ends = [codes.count(code) for code in (3, 0, 4)]
    return [len(codes), *ends, f"{undecided:.2f}", *counts, len(codes) - sum(counts), span]


if __name__ == "__main__":
    main()
