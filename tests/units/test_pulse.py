"""Whoever freezes is missed, and nobody else is."""

from __future__ import annotations

import os
import signal
import time

import pytest

from harness.launch import pulse
from harness.launch.pulse import Watchdog

BEATS = """
import sys, time
from harness.launch import pulse
pulse.PERIOD = 0.05
pulse.beat(sys.argv[1])
print("beats", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(pulse, "PERIOD", 0.05)


def watch(dog: Watchdog, seconds: float) -> list[int]:
    ended, until = [], time.monotonic() + seconds
    while time.monotonic() < until and not ended:
        ended += dog.look()
        time.sleep(0.03)
    return ended


@pytest.mark.slow
def test_a_process_that_is_stopped_is_ended_after_the_silence_and_one_that_beats_is_not(run_python, tmp_path):
    frozen, lively = (run_python(BEATS, str(tmp_path)) for _ in range(2))
    assert [process.stdout.readline() for process in (frozen, lively)] == ["beats\n"] * 2
    dog = Watchdog(str(tmp_path), silence=3.0)
    assert watch(dog, 1.0) == []
    os.kill(frozen.pid, signal.SIGSTOP)
    begin = time.monotonic()
    assert watch(dog, 30.0) == [frozen.pid]
    assert time.monotonic() - begin > 2.5
    assert frozen.wait(10) == -signal.SIGKILL and lively.poll() is None


def test_who_could_not_look_himself_accuses_nobody(run_python, tmp_path):
    """The whole machine slept, or the command was stopped: everyone gets the whole silence anew."""
    process = run_python(BEATS, str(tmp_path))
    assert process.stdout.readline()
    dog = Watchdog(str(tmp_path), silence=1.0)
    watch(dog, 0.2)
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(1.5)
    assert dog.look() == []
    os.kill(process.pid, signal.SIGCONT)
    assert watch(dog, 0.5) == [] and process.poll() is None


def test_a_number_that_another_process_has_by_now_is_left_alone(tmp_path):
    """A file of a process that has gone names a number that the system gave away again: ours, here."""
    stale = tmp_path / pulse.FOLDER / f"{os.getpid()}-1"
    stale.parent.mkdir()
    stale.touch()
    assert watch(Watchdog(str(tmp_path), silence=0.2), 0.6) == [] and not stale.exists()
