"""A run that is stopped says how far it is, and that the same command goes on."""

from __future__ import annotations

import errno
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from harness.errors import Fault, Paused, Stopped, UserError
from harness.stop import Stop
from harness.storage.objects import Place

if TYPE_CHECKING:
    from harness.spec import Benchmark

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ENDED = "the output was closed, or the process told to end"
WAIT = b"\nstopping: trials that run write a checkpoint at their next update; once more ends at once\n"


@contextmanager
def resumable(benchmark: Benchmark, results: Place, nodes: bool = False, gpus: float = 0.0) -> Iterator[Stop]:
    """Turn Ctrl-C, SIGTERM and a disk that fills up into Stopped, with how far the benchmark is. A disk that is full
    before anything runs is the user's to see to: a UserError, which passes.

    `nodes`: records of each kind of node count, not of this machine alone; `gpus`: those that GPUs made. The first
    Ctrl-C or SIGTERM asks the trials that run to stop in good order, the second ends at once.
    """
    if "\0" in str(results):
        raise UserError(Fault("a path with a null character", "--results", remedy="--results results"))
    stop, why = Stop(str(results.resolve() / benchmark.name / ".stop" / f"{os.getpid()}-{secrets.token_hex(4)}")), ""
    with _signals(stop) as heard:
        try:
            yield stop
        except (KeyboardInterrupt, Paused):
            why = "stopped"
        except (SystemExit, BrokenPipeError):
            why = "stopped" if heard else ENDED  # Lightning exits when it is interrupted
        except OSError as error:
            if error.errno not in FULL:
                raise
            why = f"the disk is full: {error}; free some space"
    if why:
        _end(why, benchmark, results, nodes, gpus)


@contextmanager
def _signals(stop: Stop) -> Iterator[list[int]]:
    """Inside, a signal to end asks for a stop, or interrupts. Yields the signals that came."""
    heard: list[int] = []
    try:
        terminal = os.dup(2)  # what a launcher makes of standard error is its own log
    except OSError:  # there is none
        terminal = os.open(os.devnull, os.O_WRONLY)

    def hear(signum: int, frame: object) -> None:
        heard.append(signum)
        if not stop.ask():
            raise KeyboardInterrupt
        os.write(terminal, WAIT)

    before = {signum: signal.signal(signum, hear) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield heard
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        stop.withdraw()
        os.close(terminal)


def _end(why: str, benchmark: Benchmark, results: Place, nodes: bool, gpus: float) -> NoReturn:
    """Say how far the benchmark is. Raises Stopped, or BrokenPipeError where all was done but for the reader."""
    from harness import machine
    from harness.launch import names
    from harness.launch.base import Target
    from harness.launch.lineage import SUFFIX
    from harness.report.words import plural

    search = benchmark.search.digest if benchmark.search else ""
    fingerprint = machine.fingerprint("cuda" if gpus else "cpu")
    target = Target(str(results), benchmark.name, fingerprint, wandb=False, nodes=nodes, search=search, gpus=gpus)
    ids = names(benchmark, target)
    at_checkpoint = {trial_id for store in target.stores() for trial_id in store.checkpointed()}
    own = {trial.id for trial in benchmark.known}
    begun = {trial_id for trial_id in at_checkpoint.difference(ids) if trial_id in own or benchmark.size > len(own)}
    if why == ENDED and len(ids) == benchmark.size:
        raise BrokenPipeError
    at = f" and {len(begun)} at a checkpoint" if begun else ""
    bred = sum(1 for store in target.stores() for _ in store.folder.glob(f"*{SUFFIX}"))
    at += f" and {plural(bred, 'population')} at an exchange" if bred else ""
    raise Stopped(f"{why}; {len(ids)} of {benchmark.size} trials are stored{at}; type the same command to go on")
