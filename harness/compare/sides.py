"""Both sides of `harness compare --against`: a revision checked out, processes that run it, and their turns."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import Fault, HarnessError, UserError

ROOT = Path(__file__).parents[2]
Seconds = list[tuple[float, float]]
"""Of each turn of a trial, what the base took and what the new side took."""


class Broken(HarnessError):
    """A side ended or answered nonsense: neither a pass nor a regression."""

    exit_code = 5


class Tree(NamedTuple):
    """A revision: what it is called, and where it lies."""

    name: str
    folder: Path


class Side:
    """A process that runs the trials of one tree. See rounds.py for what is said."""

    def __init__(self, tree: Tree, benchmark: Path, control: socket.socket, log: Path) -> None:
        self.name, self.log, self.process = tree.name, log, 0
        ours, theirs = socket.socketpair()
        self.talk = ours.makefile("rw")
        ours.close()  # the file keeps it
        with theirs, log.open("w") as told:
            request = json.dumps({"tree": str(tree.folder.resolve()), "benchmark": str(benchmark.resolve())})
            with suppress(BrokenPipeError):
                socket.send_fds(control, [request.encode()], [theirs.fileno(), told.fileno()])
        try:
            hello = self._read()
            self.labels, self.threads, self.process = hello["labels"], hello["threads"], hello["process"]
            if Path(hello["tree"]).resolve() != (tree.folder / "harness").resolve():
                raise Broken(f"{tree.name}: the code that ran lies in {hello['tree']}, not in {tree.folder}")
        except BaseException:
            self.close()
            raise

    def ask(self, number: int) -> dict[str, Any]:
        """Begin a trial, or make so many updates of the one that was begun, or end it; return what is answered."""
        with suppress(BrokenPipeError):
            self.talk.write(f"{number}\n")
            self.talk.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        line = ""
        with suppress(ConnectionResetError):
            line = self.talk.readline()
        if not line:
            told = [text for path in (self.log.with_name("libraries.log"), self.log) if path.exists()
                    for text in path.read_text(errors="replace").strip().splitlines()]  # fmt: skip
            raise Broken("\n  ".join([f"{self.name} ended before its work was done:", *told[-8:]]))
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):
            self.talk.close()
        if self.process:
            with suppress(ProcessLookupError):
                os.kill(self.process, signal.SIGKILL)


class Pair:
    """Both sides, each in a process of its own, which never compute at the same time."""

    def __init__(self, base: Side, new: Side) -> None:
        self.base, self.new = base, new

    def run(self, number: int, turns: float = math.inf) -> tuple[dict[str, Any], dict[str, Any], Seconds]:
        """Train a trial on both sides, an update a turn, A B, B A, A B, ..., to its end or for so many turns; return
        what was observed of each, and the seconds of every pair of turns."""
        sides = (self.base, self.new)
        _onto(sides, number, max(side.threads[number] for side in sides))
        said = {side: side.ask(number) for side in sides}
        pairs: Seconds = []
        turn = 0
        while "seconds" in said[self.base] or "seconds" in said[self.new]:
            for side in sides if turn % 2 else sides[::-1]:
                if "seconds" in said[side]:
                    said[side] = side.ask(1 if turn < turns else 0)
            if "seconds" in said[self.base] and "seconds" in said[self.new]:
                pairs.append((said[self.base]["seconds"], said[self.new]["seconds"]))
            turn += 1
        return said[self.base], said[self.new], pairs


def _onto(sides: tuple[Side, Side], number: int, threads: int) -> None:
    """Have both sides share a core, where one thread computes: two cores are not always equally fast, nor equally
    disturbed. Another one for the next trial."""
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        for side in sides:
            os.sched_setaffinity(side.process, [cores[number % len(cores)]] if threads == 1 else cores)


class Starter:
    """Starts sides in fresh processes, from one that has the libraries imported."""

    def __init__(self, benchmark: Path, base: Tree, new: Tree, logs: Path, control: socket.socket) -> None:
        self.benchmark, self.trees, self.logs, self.control = benchmark, (base, new), logs, control

    @contextmanager
    def pair(self) -> Iterator[Pair]:
        """Both sides; they end whatever happens."""
        with ExitStack() as stack:
            sides = []
            for tree in self.trees:
                log = self.logs / f"{len(list(self.logs.iterdir()))}.log"
                sides.append(Side(tree, self.benchmark, self.control, log))
                stack.callback(sides[-1].close)
            yield Pair(*sides)


@contextmanager
def started(benchmark: Path, base: Tree, new: Tree) -> Iterator[Starter]:
    """Import the libraries in a process from which sides are forked, one thread each."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    env |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    ours, theirs = socket.socketpair()
    with ours, tempfile.TemporaryDirectory(prefix="harness-logs-") as logs:
        with theirs, Path(logs, "libraries.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", str(Path(__file__).with_name("rounds.py")), str(theirs.fileno())],
                env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[theirs.fileno()],
            )  # fmt: skip
        try:
            yield Starter(benchmark, base, new, Path(logs), ours)
        finally:
            process.kill()
            process.wait()


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Yield a work tree of a commit, and take it away again."""
    folder = Path(tempfile.mkdtemp(prefix="harness-base-"))
    try:
        _git("worktree", "add", "--detach", "--force", str(folder / "tree"), commit)
        yield folder / "tree"
    finally:
        subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(folder / "tree")],
                       capture_output=True, check=False)  # fmt: skip
        shutil.rmtree(folder, ignore_errors=True)


def commit_of(reference: str) -> str:
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
