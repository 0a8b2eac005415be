"""The one progress display: what it counts, the time left, a bar on a terminal and lines elsewhere."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from harness.launch import display
from harness.launch.display import TrialProgress
from harness.trial import Trial


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only the test moves on."""
    now = [1000.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    return now


def trials(count: int) -> list[Trial]:
    task, cell = {"name": "digits"}, {"name": "lstm"}
    return [Trial(task=task, cell=cell, examples=64, seed=seed) for seed in range(count)]


def progress_of(todo: list[Trial], stored: int = 0, terminal: bool = False) -> tuple[TrialProgress, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=terminal)
    return TrialProgress(console, {trial.id: 10.0 for trial in todo}, stored, lines=not terminal), out


def test_it_counts_done_running_left_diverged_and_failed(clock):
    todo = trials(6)
    progress, _ = progress_of(todo, stored=4)
    assert progress.sentence() == "4 done, 0 running, 6 left, 0 diverged"
    for trial in todo[:3]:
        progress.started(trial)
    progress.finished(todo[0], "diverged", 1.0)
    assert progress.sentence().startswith("5 done, 2 running, 3 left, 1 diverged, about ")
    progress.finished(todo[1], "failed", 1.0)
    progress.finished(todo[2], "ok", 1.0)
    assert progress.sentence().startswith("7 done, 0 running, 3 left, 1 diverged, 1 failed, about ")
    for trial in todo[3:]:
        progress.started(trial)
        progress.finished(trial, "ok", 1.0)
    assert progress.sentence() == "10 done, 0 running, 0 left, 1 diverged, 1 failed"


def test_the_time_left_is_right_for_trials_as_long_as_forecast(clock):
    """Eight equal trials, two at a time, a minute each, after Ray took two to start."""
    todo = trials(8)
    progress, _ = progress_of(todo)
    clock[0] += 120
    progress.started(todo[0])
    clock[0] += 30
    progress.started(todo[1])
    assert "to go" not in progress.sentence(), "nothing is known yet"
    left = []
    for ended, trial in enumerate(todo):  # one every half minute
        clock[0] += 30
        progress.finished(trial, "ok", 60.0)
        if ended + 2 < len(todo):
            progress.started(todo[ended + 2])
        left.append(re.sub(".*about | to go", "", progress.sentence()))
    assert left[:6] == ["3:15", "2:45", "2:15", "1:45", "1:15", "0:45"]


def test_hours_are_told_as_hours(clock):
    todo = trials(100)
    progress, _ = progress_of(todo)
    progress.started(todo[0])
    clock[0] += 360
    progress.finished(todo[0], "ok", 360.0)
    assert progress.sentence().endswith("about 9:54:00 to go")


def test_a_terminal_has_a_bar_and_a_file_has_lines(clock):
    for terminal in (True, False):
        todo = trials(2)
        progress, out = progress_of(todo, terminal=terminal)
        with progress.shown() as shown:
            for trial in todo:
                shown.started(trial)
                shown.finished(trial, "ok", 1.0)
        assert "2 done, 0 running, 0 left, 0 diverged" in out.getvalue()
        assert ("\x1b" in out.getvalue()) == terminal == ("\u2501" in out.getvalue())


def test_trials_of_a_pack_share_their_time(clock):
    """Four trials of a pack that took 40 s report 10 s each: the next pack of four takes 40 s again, not 10 s."""
    todo = trials(8)
    out = io.StringIO()
    progress = TrialProgress(
        Console(file=out), {t.id: 10.0 for t in todo}, 0, lines=True, beside={t.id: 4 for t in todo}
    )
    for trial in todo[:4]:
        progress.started(trial)
    clock[0] += 40
    for trial in todo[:4]:
        progress.finished(trial, "ok", 10.0)
    assert progress.sentence().endswith("about 0:40 to go")
    for trial in todo[4:]:
        progress.started(trial)
    clock[0] += 20
    assert progress.sentence().endswith("about 0:20 to go")
