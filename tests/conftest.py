"""What all tests share: a results folder, a record, and the rule that CI skips nothing but missing hardware."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import turns

from harness import machine, registry
from harness.record import Record
from harness.tasks._prepared import PreparedTask

# Before torch is imported, here or in a child. Threads that spin for a core which another process holds are slow: on
# two busy cores test_lyapunov, test_free_running and test_encoder_decoder took 121 s with two threads, 30 s with one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Programs of a GPU run in Triton's interpreter where there is none; before Triton is imported, which torch may do.
if not machine.gpu_names():
    os.environ["TRITON_INTERPRET"] = "1"
ROOT = Path(__file__).parents[1]
# A real head needs the extra `cluster`, which `make install` does not bring; where it is, its test is collected.
collect_ignore = [] if find_spec("aiohttp_cors") else ["flows/test_real_job.py"]
# Local copies of data sets lie beside the checkout on machines that lend them; what is prepared of them outlives a run.
MIRROR = ROOT.parent / "shared" / "data"
if MIRROR.is_dir():
    os.environ.setdefault("HARNESS_DATA_MIRROR", str(MIRROR))
os.environ.setdefault("HARNESS_CACHE", str(ROOT / ".pytest_cache" / "data"))
HAS_DATA = bool(os.environ.get("HARNESS_DATA_MIRROR"))
TURNS = ROOT / ".pytest_cache" / "turns"
IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
EXCUSED = ("gpu",) if HAS_DATA else ("gpu", "data")
"""Markers whose tests may be skipped in CI, because only hardware, or data that may not be copied, make them run."""


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """An empty results folder."""
    return tmp_path / "results"


@pytest.fixture
def make_record() -> Callable[..., Record]:
    """Build a record of a trial that went well, with any field changed."""

    def build(trial_id: str = "0123456789abcdef", **changes: object) -> Record:
        asked = {"trial_id": trial_id, "benchmark": "quick", "trial": "{}", "task": "adding", "cell": "any", "seed": 0}
        return Record(**{**asked, "status": "ok", "metric": "mse", "score": 0.125, **changes})

    return build


@pytest.fixture
def run_python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python code in a process of its own; whatever still runs at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *args: str, before: Sequence[str] = (), **options: Any) -> subprocess.Popen[str]:
        # -B: Python keeps compiled files that a full disk or a limit cut short, and every later import of them fails
        command = [*before, sys.executable, "-B", "-c", textwrap.dedent(code), *args]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, **{**pipes, **options}))
        return started[-1]

    yield start
    for process in started:
        with process:
            process.kill()


def pytest_configure(config: pytest.Config) -> None:
    """Say it once and loudly if no real data set is at hand."""
    if not HAS_DATA and not hasattr(config, "workerinput"):
        print("\nNO REAL DATA: every test marked `data` is skipped; HARNESS_DATA_MIRROR names a folder of copies\n")


def needs_data(item: pytest.Item) -> bool:
    """A test that says so, or one whose parameters name a task on real data."""
    if item.get_closest_marker("data"):
        return True
    given = getattr(item, "callspec", None)
    kinds = registry.members("harness.tasks")
    named = [value for value in (given.params.values() if given else ()) if isinstance(value, str) and value in kinds]
    return any(issubclass(kinds[name], PreparedTask) and reads_files(kinds[name]) for name in named)


def reads_files(kind: type[PreparedTask]) -> bool:
    """Whether the data that a task reads unless told otherwise are files of others, not what is always there."""
    return bool(kind.sets[kind.model_fields["data"].default])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with long files. Skip what needs a GPU where there is none, and what needs data where there are none."""
    items.sort(key=lambda item: turns.place(item.path))
    for item in items:
        if needs_data(item):
            item.add_marker(pytest.mark.data)
            if not HAS_DATA:
                item.add_marker(pytest.mark.skip(reason="no real data: set HARNESS_DATA_MIRROR"))
    if not machine.gpu_names():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU on this machine"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
    """Where processes share the tests, one that compares seconds has the machine for itself."""
    several = hasattr(item.config, "workerinput")
    with turns.turn(TURNS, item.get_closest_marker("quiet") is not None) if several else nullcontext():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """In CI a skipped test is a failed one: what is never run is not tested."""
    report = yield
    excused = any(item.get_closest_marker(name) for name in EXCUSED) or hasattr(report, "wasxfail")
    return report if excused else _no_skip(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    """The same for a file that skips itself while it is collected."""
    return _no_skip((yield))


def _no_skip(report: pytest.TestReport | pytest.CollectReport):
    """Turn a skip into a failure in CI."""
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where only {', '.join(EXCUSED)} may be: {report.longrepr}"
    return report
