"""Does the gate cry wolf, and does it miss one? Series of real runs of `harness compare --against`, with intervals.

    python benchmarks/gate.py --same 100 --slower 50                     # as it is by default: finds 20 %
    python benchmarks/gate.py --slower 30 --cell gru                     # one cell alone is slower
    python benchmarks/gate.py --same 20 --slower 20 --percent 10         # a true 10 %, by a gate told to find 10 %
    python benchmarks/gate.py --read gate-series                         # the tables of what was run before

Two kinds of runs take turns. *Same*: the commit that is checked out here against itself. *Slower*: it against a tree of
the same commit whose updates take so many percent more of the processor's time: after each update, window by window
forward and back, clipped and stepped, it multiplies small matrices for that share of the time that it took. Making the
batch and the probes come on top and stay as they are, so that what is timed is slower by a little less. Nothing that is
computed changes. What every run printed and its raw times are kept in a folder.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

from harness.compare.against import TIMES, ratios_of, together
from harness.compare.timing import OPEN, confirmed
from harness.stats.order import median
from harness.stats.share import share

ROOT = Path(__file__).parents[1]
ALL = "all together"
SLOWER = '''

def _slower(update: Any, share: float, cell: str) -> Any:
    """For `benchmarks/gate.py`: an update, and then so large a share of its processor time again."""
    import time

    ones = torch.ones(32, 32)

    def slower(self: RecurrentModule, batch: Batch) -> None:
        begin = time.process_time()
        update(self, batch)
        now = time.process_time()
        more = share * (now - begin) if cell in ("", self.trial.cell["name"]) else 0.0
        with torch.no_grad():
            while time.process_time() < now + more:
                ones @ ones

    return slower


RecurrentModule._update = _slower(RecurrentModule._update, SHARE, CELL)
'''
"""What the slower tree has at the end of harness/training/module.py."""


def main() -> None:
    """Run both series, or read them again, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--same", type=int, default=0, help="runs of a commit against itself")
    parser.add_argument("--slower", type=int, default=0, help="runs against a slower tree")
    parser.add_argument("--percent", type=int, default=20, help="how much slower, and what the gate is told to find")
    parser.add_argument("--cell", default="", help="slow the updates of this cell alone")
    parser.add_argument("--seconds", type=int, default=110, help="of each run, at most")
    parser.add_argument("--minutes", type=float, default=600, help="begin no run after so many")
    parser.add_argument("--keep", type=Path, default=Path("gate-series"), help="a folder for what each run found")
    parser.add_argument("--read", type=Path, help="print the table of such a folder, and run nothing")
    told = parser.parse_args()
    told.keep = told.keep.resolve()  # each run stands in a tree of its own
    if told.read is None:
        run(told)
    found = list(runs(told.read or told.keep))
    print(table(found), thresholds(found), sep="\n\n")


def in_turn(same: int, slower: int) -> list[str]:
    """Return which kind each run is of, both evenly spread."""
    kinds = {"same": same, "slower": slower}
    return [
        kind for _, kind in sorted(((i + 0.5) / count, kind) for kind, count in kinds.items() for i in range(count))
    ]


def run(told: argparse.Namespace) -> None:
    """Run both series in turn, evenly spread."""
    end = time.monotonic() + 60 * told.minutes
    order = in_turn(told.same, told.slower)
    commit = git("rev-parse", "HEAD")
    told.keep.mkdir(parents=True, exist_ok=True)
    with tree_of(commit) as plain, tree_of(commit, told.percent, told.cell) as slow:
        for number, kind in enumerate(order):
            if time.monotonic() > end:
                return
            what = "same" if kind == "same" else f"slower {told.cell}".strip()
            name = f"{what.replace(' ', '_')}-{told.percent}-{int(time.time())}-{number:03d}"
            found = once(plain if kind == "same" else slow, commit, told, told.keep / name)
            print(f"{number + 1}/{len(order)} {what}: exit {found['exit']}, {found['wall']:.0f} s, "
                  f"load {found['load']:.1f}: {found['finding']}", flush=True)  # fmt: skip


def once(tree: Path, commit: str, told: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One run of the gate in a tree against a commit; what came of it is kept in a folder."""
    env = os.environ | {"PYTHONPATH": str(tree)}
    command = [sys.executable, "-m", "harness", "compare", "benchmarks/ci.yaml", "--against", commit,
               "--seconds", str(told.seconds), "--find", str(told.percent), "--output", str(folder)]  # fmt: skip
    begin, load = time.monotonic(), os.getloadavg()[0]
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    found = {"kind": folder.name.partition("-")[0].replace("_", " "), "percent": told.percent, "exit": done.returncode,
             "wall": time.monotonic() - begin, "load": load, "again": said.count("once more"),
             "finding": said.strip().rpartition("\n")[2]}  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "told.txt").write_text(said)
    (folder / "run.json").write_text(json.dumps(found))
    return found


def runs(folder: Path) -> Iterator[dict[str, Any]]:
    """Every run of a folder, with what was found of each quantity."""
    for path in sorted(folder.glob("*/run.json")):
        found = json.loads(path.read_text())
        whole = path.with_name("compare.json")
        lines = json.loads(whole.read_text())["lines"] if whole.exists() else []
        yield found | {"times": {line["name"]: line for line in lines if line["of"] == "time"}}


def table(found: list[dict[str, Any]]) -> str:
    """Shares of each kind of runs, with exact binomial intervals of 95 %, and what was said of each quantity."""
    kinds = {(r["percent"], r["kind"]): [o for o in found if (o["percent"], o["kind"]) == (r["percent"], r["kind"])]
             for r in found}  # fmt: skip
    whole = [
        "| true slowdown | told to find | runs | alarms (exit 3) | share [95 %] | inconclusive (4) | fine (0) | else | "
        "measured again | seconds: median [least, most] | load |",
        "| ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    parts = ["| true slowdown | quantity | verdicts | ratio: median [least, most] |", "| ---: | --- | --- | --- |"]
    for (percent, kind), own in sorted(kinds.items()):
        codes = [r["exit"] for r in own]
        alarms, true = (
            share(codes.count(3), len(own)),
            "none" if kind == "same" else f"{percent} %{kind.removeprefix('slower')}",
        )
        walls, loads = [r["wall"] for r in own], [r["load"] for r in own]
        cells = [
            true, f"{percent} %", len(own), alarms.hits, f"{alarms.share:.3f} [{alarms.low:.3f}, {alarms.high:.3f}]",
            codes.count(4), codes.count(0), sum(c not in (0, 3, 4) for c in codes), sum(r["again"] > 0 for r in own),
            f"{median(walls):.0f} [{min(walls):.0f}, {max(walls):.0f}]", f"{min(loads):.1f} to {max(loads):.1f}",
        ]  # fmt: skip
        whole.append("| " + " | ".join(map(str, cells)) + " |")
        parts += [f"| {true} | {line} |" for line in _quantities(own)]
    return "\n".join([*whole, "", *parts])


def _quantities(own: list[dict[str, Any]]) -> Iterator[str]:
    """What was said of each quantity."""
    for name in {name: None for run in own for name in run["times"]}:
        said = [run["times"][name] for run in own if name in run["times"]]
        verdicts = [line["verdict"] for line in said]
        numbers = [line["numbers"] for line in said if "times as long" in line["numbers"]]
        ratios = [float(text.split()[0]) for text in numbers] or [math.nan]
        counts = ", ".join(f"{verdicts.count(each)} {each}" for each in sorted(set(verdicts)))
        yield f"{name} | {counts} | {median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}]"


def thresholds(found: list[dict[str, Any]]) -> str:
    """What it takes to find less: the runs of a commit against itself judged again, 300 times for each line, with the
    ratios of a few runs of them put together, drawn anew each time, and times the slowdown."""
    same = [{name: ratios_of(line["seconds_base_new"][0]) for name, line in run["times"].items() if name != ALL}
            for run in found if run["kind"] == "same" and run["times"]
            and all("seconds_base_new" in line for name, line in run["times"].items() if name != ALL)]  # fmt: skip
    if not same:
        return "No raw times of a commit against itself: no thresholds."
    rng, out = random.Random(0), [
        "| find | ratios | equal: alarms | equal: inconclusive | all slower: found | one slower: found |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for find, count in product((0.2, 0.1, 0.05), (16, 32, 64, 128)):
        runs_each = -(-count // min(len(ratios) for run in same for ratios in run.values()))
        if TIMES * runs_each > len(same):
            continue
        codes: dict[str, list[int]] = {"equal": [], "all": [], "one": []}
        for _ in range(300):
            drawn = rng.sample(same, TIMES * runs_each)
            parts = [drawn[at : at + runs_each] for at in range(0, len(drawn), runs_each)]
            times = [{name: [x for run in part for x in run[name]][:count] for name in part[0]} for part in parts]
            slow = {"equal": [], "all": [*times[0]], "one": [rng.choice([*times[0]])]}
            for kind, names in slow.items():
                codes[kind].append(exit_code([{n: [x * (1 + find * (n in names)) for x in ratios]
                                               for n, ratios in each.items()} for each in times], find))  # fmt: skip
        shares = [codes["equal"].count(3), codes["equal"].count(4), codes["all"].count(3), codes["one"].count(3)]
        out.append(f"| {find:.0%} | {count} | " + " | ".join(f"{n / 300:.3f}" for n in shares) + " |")
    return "\n".join(out)


def exit_code(times: list[dict[str, list[float]]], find: float) -> int:
    """What the gate would have said of ratios that were measured once, twice, three times."""
    rounds = [{**each, ALL: together([*each.values()])} for each in times]
    measured: dict[str, list[list[float]]] = {name: [] for name in rounds[0]}
    left = list(measured)
    for each in rounds:
        for name in left:
            measured[name].append(each[name])
        verdicts = {n: confirmed(ratios, len(measured), find).verdict for n, ratios in measured.items()}
        left = list(measured) if verdicts[ALL] == OPEN else [n for n in measured if verdicts[n] == OPEN]
    return 3 if "slower" in verdicts.values() else 4 if left else 0


@contextmanager
def tree_of(commit: str, percent: int = 0, cell: str = "") -> Iterator[Path]:
    """A work tree of a commit, slower by so many percent, in one cell or in all."""
    folder = Path(tempfile.mkdtemp(prefix="harness-gate-"))
    try:
        git("worktree", "add", "--detach", str(folder / "tree"), commit)
        if percent:
            with (folder / "tree/harness/training/module.py").open("a") as file:
                file.write(SLOWER.replace("SHARE", repr(percent / 100)).replace("CELL", repr(cell)))
        yield folder / "tree"
    finally:
        git("worktree", "remove", "--force", str(folder / "tree"))
        shutil.rmtree(folder, ignore_errors=True)


def git(*arguments: str) -> str:
    """What git says of this repository."""
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
