"""`harness compare --against REF BENCHMARK`: a revision and this tree, in turn on this machine, A B B A.

Both sides stand in processes of their own with everything imported, and only one of them computes at a time; what the
machine does to one it does to its neighbour. What looks slower is measured once more, and only what is slower both
times is called so.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.compare import facts, timing
from harness.compare.folders import name_of, scored
from harness.compare.result import Comparison, Line, facts_line, time_line
from harness.errors import Fault, HarnessError, UserError
from harness.record import Record
from harness.trial import key_of

SHORT = 2.0
"""Seconds up to which a trial is run again and again for its time; a longer one is run once for facts and score."""
MOST = 60
"""Pairs of each trial: more are not needed. Fewer than about 13 give no interval, and the verdict is inconclusive."""
AGAIN = ("slower", "inconclusive")
ROOT = Path(__file__).parents[1]


class Broken(HarnessError):
    """A side ended or answered nonsense: neither a pass nor a regression."""

    exit_code = 5


class Side:
    """A process that runs the trials of one tree."""

    def __init__(self, name: str, tree: Path, benchmark: Path, log: Path) -> None:
        self.name, self.log = name, log
        env = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(Path(__file__).with_name("rounds.py")), str(benchmark)],
                env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=tree,
            )  # fmt: skip
        try:
            hello = self._read()
            self.labels: list[str] = hello["labels"]
            if Path(hello["tree"]).resolve() != (tree / "harness").resolve():
                raise Broken(f"{name}: the code that ran lies in {hello['tree']}, not in {tree}")
        except BaseException:
            self.close()
            raise

    def run(self, number: int) -> dict[str, Any]:
        """Run a trial; return what was observed."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{number}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            told = self.log.read_text(errors="replace").strip().splitlines()[-8:]
            raise Broken("\n  ".join([f"{self.name} ended with exit code {self.process.returncode}:", *told]))
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


def compare(
    reference: str, benchmark: Path, seconds: float, accept: bool = False, say: Callable[[str], None] = print
) -> Comparison:
    """Compare a git revision with this tree within about so many seconds, the start of both sides included."""
    begin = time.monotonic()
    commit = _commit(reference)
    with _checked_out(commit) as tree, _both(commit[:12], tree, benchmark) as (base, new):
        if base.labels != new.labels:
            note = f"{commit[:12]} makes other trials of {benchmark.name} than this tree: nothing is comparable"
            return Comparison(commit[:12], "this tree", [], [note], accept)
        say(f"{len(base.labels)} trials of {commit[:12]} and of this tree, in turn")
        once = [(base.run(i), new.run(i)) for i in range(len(base.labels))]
        again = [i for i, pair in enumerate(once) if max(side["seconds"] for side in pair) <= SHORT]
        left = seconds - (time.monotonic() - begin)
        lines = _observed(once)
        if again:
            lines += _timed(base, new, again, 0.6 * left, begin + seconds, say)
    return Comparison(commit[:12], "this tree", lines, [], accept)


def _observed(once: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> list[Line]:
    """Facts and scores, from one run of each trial."""
    variants: dict[str, list[tuple[Record, Record]]] = {}
    for pair in once:
        base, new = (Record(**{k: v for k, v in side.items() if k in Record.__dataclass_fields__}) for side in pair)
        variants.setdefault(key_of(new.settings()), []).append((base, new))
    lines = []
    for pairs in variants.values():
        name = name_of([new for _, new in pairs])
        lines.append(facts_line(name, [fact for base, new in pairs for fact in facts.changed(base, new)]))
        lines.append(scored(name, [base for base, _ in pairs], [new for _, new in pairs]))
    return lines


def _timed(
    base: Side, new: Side, numbers: list[int], budget: float, end: float, say: Callable[[str], None]
) -> list[Line]:
    """Times, in rounds; what looks slower is measured once more with what is left of the time."""
    found = _rounds(base, new, numbers, budget)
    judged = {i: timing.judge(found[i][0], len(numbers) + 1) for i in numbers}
    whole = timing.judge(_together(found), len(numbers) + 1)
    doubtful = numbers if whole.verdict == "slower" else [i for i in numbers if judged[i].verdict in AGAIN]
    if doubtful:
        say(f"once more: {', '.join(base.labels[i] for i in doubtful)}")
        more = _rounds(base, new, doubtful, end - time.monotonic())
        for i in doubtful:
            judged[i] = _confirmed(judged[i], found[i][0], more[i][0], len(doubtful) + 1)
        if doubtful == numbers:
            whole = _confirmed(whole, _together(found), _together(more), len(numbers) + 1)
    lines = [time_line(base.labels[i], judged[i], found[i][1]) for i in numbers]
    return [*lines, time_line("all together", whole)] if len(numbers) > 1 else lines


def _confirmed(first: timing.Timing, ratios: list[float], more: list[float], comparisons: int) -> timing.Timing:
    """Judge both measurements together; slower is only what was slower in each of them."""
    again, both = timing.judge(more, comparisons), timing.judge(ratios + more, comparisons)
    if both.verdict == "slower" and not first.verdict == again.verdict == "slower":
        return replace(both, verdict="inconclusive")
    return both


def _together(found: dict[int, tuple[list[float], float]]) -> list[float]:
    """Geometric mean over the trials of each round: what slows all of them down shows in it first."""
    rounds = zip(*(ratios for ratios, _ in found.values()), strict=True)
    return [math.exp(math.fsum(map(math.log, ratios)) / len(ratios)) for ratios in rounds]


def _rounds(base: Side, new: Side, numbers: list[int], seconds: float) -> dict[int, tuple[list[float], float]]:
    """Run every trial in pairs A B, B A, A B, ... until the time is over; return the ratios and the new side's time."""
    ratios: dict[int, list[float]] = {i: [] for i in numbers}
    times: dict[int, list[float]] = {i: [] for i in numbers}
    begin, turn = time.monotonic(), 0
    while turn < MOST and time.monotonic() - begin < seconds:
        for i in numbers:
            sides = (base, new) if turn % 2 else (new, base)
            took = {side: _quick(side.run(i)) for side in sides}
            ratios[i].append(took[new] / took[base])
            times[i].append(took[new])
        turn += 1
    return {i: (ratios[i], min(times[i], default=0.0)) for i in numbers}


def _quick(observed: dict[str, Any]) -> float:
    return timing.quick(observed["update_seconds"], observed["warmup_updates"])


@contextmanager
def _both(name: str, tree: Path, benchmark: Path) -> Iterator[tuple[Side, Side]]:
    """Start both sides; end them whatever happens."""
    sides: list[Side] = []
    with tempfile.TemporaryDirectory(prefix="harness-logs-") as logs:
        try:
            for title, where in ((name, tree), ("this tree", ROOT)):
                sides.append(Side(title, where, benchmark.resolve(), Path(logs, f"{len(sides)}.log")))
            yield sides[0], sides[1]
        finally:
            for side in sides:
                side.close()


@contextmanager
def _checked_out(commit: str) -> Iterator[Path]:
    """Yield a work tree of a commit, and take it away again."""
    folder = Path(tempfile.mkdtemp(prefix="harness-base-"))
    try:
        _git("worktree", "add", "--detach", "--force", str(folder / "tree"), commit)
        yield folder / "tree"
    finally:
        subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(folder / "tree")],
                       capture_output=True, check=False)  # fmt: skip
        shutil.rmtree(folder, ignore_errors=True)


def _commit(reference: str) -> str:
    """Return the hash of a revision."""
    if not (ROOT / ".git").exists():
        raise UserError(Fault("--against needs a git checkout of the harness", where=str(ROOT), remedy="git clone"))
    if reference.startswith("-"):
        raise UserError(Fault(f"--against: {reference!r} is no revision", remedy="--against main"))
    try:
        return _git("rev-parse", "--verify", "--end-of-options", f"{reference}^{{commit}}")
    except subprocess.CalledProcessError as error:
        allowed = "a branch, tag or commit of this repository"
        raise UserError(Fault(f"--against: no revision {reference!r}", allowed=allowed)) from error


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
