"""Both sides of `harness compare --against`: a revision checked out, processes that run it, and their turns."""

from __future__ import annotations

import json
import math
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from harness import redact
from harness.compare.names import told_apart
from harness.errors import Fault, HarnessError, UserError

ROOT = Path(__file__).parents[2]
Seconds = list[tuple[float, float]]
"""Of each turn of a trial, what the base took and what the new side took."""
ALL = 10**9
"""More updates than any trial has."""


class Broken(HarnessError):
    """A side ended or answered nonsense: neither a pass nor a regression."""

    exit_code = 5


class Late(HarnessError):
    """The time of the run is up; what is not decided by then stays so."""

    exit_code = 4


class Refused(HarnessError):
    """A revision cannot read the benchmark, which asks for what it has not yet: there is nothing to compare with."""

    exit_code = 4


class Tree(NamedTuple):
    """A revision: what it is called, and where it lies."""

    name: str
    folder: Path


class Side:
    """A process that runs the trials of one tree. See rounds.py for what is said. Whatever it does, and on however busy
    a machine, nobody waits for an answer past `end`, of the monotonic clock: Late is raised."""

    def __init__(self, tree: Tree, benchmark: Path, control: socket.socket, log: Path, end: float = math.inf) -> None:
        self.name, self.log, self.end, self.process = tree.name, log, end, 0
        self.socket, theirs = socket.socketpair()
        self.talk = self.socket.makefile("rw")
        with theirs, log.open("w") as told:
            request = json.dumps({"tree": str(tree.folder.resolve()), "benchmark": str(benchmark.resolve())})
            with suppress(BrokenPipeError):
                socket.send_fds(control, [request.encode()], [theirs.fileno(), told.fileno()])
        try:
            hello = self.answer()
            if "refused" in hello:
                raise Refused(f"{tree.name} cannot read {benchmark.name}: {hello['refused']}")
            self.settings, self.process = hello["settings"], hello["process"]
            self.labels = told_apart(hello["labels"], self.settings)
            if Path(hello["tree"]).resolve() != (tree.folder / "harness").resolve():
                raise Broken(f"{tree.name}: the code that ran lies in {hello['tree']}, not in {tree.folder}")
        except BaseException:
            self.close()
            raise

    def ask(self, *numbers: int) -> dict[str, Any]:
        """Begin a trial, with another seed or its own, or make so many updates of the one that was begun, or end it;
        return what is answered."""
        self.tell(*numbers)
        return self.answer()

    def tell(self, *numbers: int) -> None:
        """Ask, and let it work."""
        with suppress(BrokenPipeError):
            self.talk.write(" ".join(map(str, numbers)) + "\n")
            self.talk.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for what it answers."""
        left = max(0.0, self.end - time.monotonic())
        if not select.select([self.socket], [], [], left if left < math.inf else None)[0]:
            raise Late(f"{self.name} had not answered when the time was up")
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
        self.socket.close()
        if self.process:
            with suppress(ProcessLookupError):
                os.kill(self.process, signal.SIGKILL)


class Pair:
    """Both sides, each in a process of its own, which never compute at the same time while they are timed."""

    def __init__(self, base: Side, new: Side) -> None:
        self.base, self.new = base, new

    def run(self, number: int, pairs: Seconds, turns: float = math.inf) -> tuple[dict[str, Any], dict[str, Any]]:
        """Train a trial on both sides, an update a turn, A B, B A, A B, ..., to its end or for so many turns; return
        what was observed of each. `pairs`: gets the seconds of every pair of turns, when it was made."""
        sides = (self.base, self.new)
        _onto(sides, number, max(side.settings[number]["threads"] for side in sides))
        said = {side: side.ask(number) for side in sides}
        turn = 0
        while "seconds" in said[self.base] or "seconds" in said[self.new]:
            for side in sides if turn % 2 else sides[::-1]:
                if "seconds" in said[side]:
                    said[side] = side.ask(1 if turn < turns else 0)
            if "seconds" in said[self.base] and "seconds" in said[self.new]:
                pairs.append((said[self.base]["seconds"], said[self.new]["seconds"]))
            turn += 1
        return said[self.base], said[self.new]

    def train(self, number: int, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Train a trial with another seed, on both sides at once: for scores, which no clock decides."""
        sides = (self.base, self.new)
        _onto(sides, number, 0)
        for side in sides:
            side.tell(number, seed)
        said = [side.answer() for side in sides]
        going = [side for side, each in zip(sides, said, strict=True) if "seconds" in each]
        for side in going:
            side.tell(ALL)
        ended = {side: side.answer() for side in going}
        base, new = (ended.get(side, each) for side, each in zip(sides, said, strict=True))
        return base, new


def _onto(sides: tuple[Side, Side], number: int, threads: int) -> None:
    """Have both sides share a core, where one thread computes: two cores are not always equally fast, nor equally
    disturbed. Another one for the next trial. `threads`: 0 where nothing is timed."""
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        for side in sides:
            os.sched_setaffinity(side.process, [cores[number % len(cores)]] if threads == 1 else cores)


class Starter:
    """Starts sides in fresh processes, from one that has the libraries imported. Nobody waits for them past `end`."""

    def __init__(
        self, benchmark: Path, trees: tuple[Tree, Tree], logs: Path, control: socket.socket, end: float
    ) -> None:
        self.benchmark, self.trees, self.logs, self.control, self.end = benchmark, trees, logs, control, end

    @contextmanager
    def pair(self) -> Iterator[Pair]:
        """Both sides; they end whatever happens."""
        with ExitStack() as stack:
            sides = []
            for tree in self.trees:
                log = self.logs / f"{len(list(self.logs.iterdir()))}.log"
                sides.append(Side(tree, self.benchmark, self.control, log, self.end))
                stack.callback(sides[-1].close)
            yield Pair(*sides)


@contextmanager
def started(benchmark: Path, base: Tree, new: Tree, end: float = math.inf) -> Iterator[Starter]:
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
            yield Starter(benchmark, (base, new), Path(logs), ours, end)
        finally:
            process.kill()
            process.wait()


@contextmanager
def checked_out(commit: str, end: float = math.inf) -> Iterator[Path]:
    """Yield a work tree of a commit, which has to stand by `end`, and take it away again."""
    folder = Path(tempfile.mkdtemp(prefix="harness-base-"))
    try:
        _git("worktree", "add", "--detach", "--force", str(folder / "tree"), commit, end=end)
        yield folder / "tree"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        # forced twice: git locks a tree while it makes it, and may have been killed then
        subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", "--force", str(folder / "tree")],
                       capture_output=True, check=False)  # fmt: skip


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
        what = f"--against: no revision {redact.revision(reference)!r}"
        raise UserError(Fault(what, allowed=allowed)) from error


def _git(*arguments: str, end: float = math.inf) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    left = max(0.0, end - time.monotonic()) if end < math.inf else None
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said, told = process.communicate(timeout=left)
        except BaseException as error:
            process.terminate()  # not killed: it ends its own children and takes away what it had begun
            process.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise Late(f"git {arguments[0]} was not done when the time was up") from None
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, said, told)
    return said.strip()
