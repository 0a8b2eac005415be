"""A scratch folder goes with its command, or with the next one after a kill; never while a worker is in it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.launch import scratch

WORKER = """
    import sys
    from harness.launch import scratch
    scratch.occupy(sys.argv[1])
    scratch.occupy(sys.argv[1])  # a process serves many trials
    print("in", flush=True)
    sys.stdin.read()
"""
OWNER = """
    import os
    from harness.launch import scratch
    folder, _ = scratch.make()
    print(folder, flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_a_folder_goes_with_its_command_and_no_other_does(place: Path) -> None:
    (place / "harness-of-somebody").mkdir()
    folder, lock = scratch.make()
    scratch.sweep_up()
    assert Path(folder).is_dir()
    scratch.remove(folder, lock)
    assert [path.name for path in place.iterdir()] == ["harness-of-somebody"]


def test_after_a_kill_it_goes_once_its_last_worker_has(run_python: Callable[..., subprocess.Popen[str]]) -> None:
    folder = run_python(OWNER).communicate(timeout=60)[0].strip()
    worker = run_python(WORKER, folder, stdin=subprocess.PIPE)
    assert worker.stdout is not None and worker.stdout.readline() == "in\n"
    for _ in range(2):
        scratch.sweep_up()
        assert Path(folder).is_dir(), "a trial runs there"
    worker.communicate(timeout=60)
    scratch.sweep_up()
    assert not Path(folder).exists()
