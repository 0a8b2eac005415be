"""Whose turn it is where several processes share the tests: long files first, and alone what compares seconds.

A file goes to one process as a whole (`--dist loadfile`), so one of minutes that begins last leaves the other processes
with nothing to do. A test marked `quiet` waits until the tests that run have ended, and none begins before it has.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FIRST = (
    "flows/test_plan_holds.py",
    "flows/test_tasks_learn.py",
    "chaos/test_nodes.py",
    "flows/test_stop.py",
    "chaos/test_workers.py",
    "flows/test_population_goes_on.py",
    "flows/test_searches.py",
    "chaos/test_nodes_workers.py",
    "flows/test_run.py",
    "flows/test_pack.py",
    "flows/test_objects_cluster.py",
    "flows/test_gpus_ray.py",
    "flows/test_pack_ray.py",
    "flows/test_objects_run.py",
    "chaos/test_one_raises.py",
    "chaos/test_strangers.py",
    "flows/test_wandb_online.py",
    "flows/test_workers_resume.py",
    "flows/test_many_trials.py",
)
"""Files of more than half a minute, the longest first after those of quiet tests; the others follow as they come."""
TESTS = Path(__file__).parent
assert not (gone := [name for name in FIRST if not (TESTS / name).is_file()]), gone


def place(file: Path) -> int:
    """Return a number to sort test files by."""
    name = file.relative_to(TESTS).as_posix() if file.is_relative_to(TESTS) else ""
    return FIRST.index(name) if name in FIRST else len(FIRST)


@contextmanager
def turn(folder: Path, alone: bool) -> Iterator[None]:
    """Inside, no test runs that is to be `alone`; where this one is, no other of those that take turns in a folder.

    Whoever waits to be alone keeps the door, so that it is his turn when those inside have left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "door", "w") as door, open(folder / "room", "w") as room:
        try:
            fcntl.flock(door, fcntl.LOCK_EX)
            fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            if not alone:
                fcntl.flock(door, fcntl.LOCK_UN)
            yield
        finally:  # by hand: a process that a test has forked has these files open as well
            fcntl.flock(room, fcntl.LOCK_UN)
            fcntl.flock(door, fcntl.LOCK_UN)
