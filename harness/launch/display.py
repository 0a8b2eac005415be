"""One progress display: done, running, left, diverged, time left. A bar on a terminal, elsewhere lines."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from harness.trial import Trial

LINE_EVERY = 15.0
"""Seconds between two lines where there is no terminal to draw a bar on."""


class TrialProgress:
    """Counts trials and says so. Time left is what the weight (estimated cost) done so far took, for what is left of
    it, at as many trials at once as were seen; what runs is done by as much as it has run."""

    def __init__(
        self,
        console: Console,
        weights: Mapping[str, float],
        stored: int,
        lines: bool,
        beside: Mapping[str, int] | None = None,
    ) -> None:
        """`weights`: trial id to estimated seconds, for trials to run. `lines`: print lines, draw nothing. `beside`:
        how many train together in the pack of a trial, each of which reports its share of their time."""
        self.console, self.weights, self.stored = console, dict(weights), stored
        self.lines = lines or not console.is_terminal
        self.counts: Counter[str] = Counter()
        self.around: Counter[str] = Counter()
        self.running: dict[str, float] = {}  # id -> when it began
        self.beside = beside or {}
        self.at_once = 1.0
        self.weight_done = self.seconds_done = 0.0
        self.bar: Progress | None = None
        self.task: TaskID | None = None

    @contextmanager
    def shown(self) -> Iterator[TrialProgress]:
        """Show the bar while inside."""
        if self.lines:
            over = threading.Event()
            threading.Thread(target=self._speak_until, args=(over,), daemon=True).start()
            try:
                yield self
            finally:
                over.set()
            self._say()
            return
        columns = (BarColumn(bar_width=30), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=self.console) as self.bar:
            self.task = self.bar.add_task(self.sentence(), total=len(self.weights) + self.stored, completed=self.stored)
            yield self

    def started(self, trial: Trial) -> None:
        """A trial runs."""
        self.running[trial.id] = time.monotonic()
        self.at_once = max(self.at_once, sum(1 / self.beside.get(one, 1) for one in self.running))
        self._update()

    def finished(self, trial: Trial, status: str, seconds: float) -> None:
        """A trial has its record."""
        self.running.pop(trial.id, None)
        self.counts[status] += 1
        self.weight_done += self.weights.get(trial.id, 0.0)
        self.seconds_done += seconds
        if self.bar is not None and self.task is not None:
            self.bar.advance(self.task)
        self._update()

    def spent(self, seconds: Mapping[str, float]) -> None:
        """Add up what processes spent around their trials."""
        self.around.update(seconds)

    def say(self, text: str) -> None:
        """Print lines of text, above the bar if there is one."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def sentence(self) -> str:
        """Return the state in words."""
        done = sum(self.counts.values())
        left = len(self.weights) - done - len(self.running)
        parts = [f"{done + self.stored} done", f"{len(self.running)} running", f"{left} left"]
        parts += [f"{self.counts['diverged']} diverged"]
        parts += [f"{self.counts['failed']} failed"] if self.counts["failed"] else []
        return ", ".join(parts) + self._time_left()

    def _time_left(self) -> str:
        total = sum(self.weights.values())
        if not self.weight_done or self.weight_done >= total:
            return ""
        rate, now = self.seconds_done / self.weight_done, time.monotonic()
        weights = {trial: self.weights.get(trial, 0.0) for trial in self.running}
        left = rate * (total - self.weight_done - sum(weights.values()))
        left += sum(
            max(0.0, rate * weights[trial] - (now - begin) / self.beside.get(trial, 1))
            for trial, begin in self.running.items()
        )
        seconds = left / self.at_once
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        clock = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
        return f", about {clock} to go"

    def _update(self) -> None:
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, description=self.sentence())

    def _speak_until(self, over: threading.Event) -> None:
        while not over.wait(LINE_EVERY):
            self._say()

    def _say(self) -> None:
        self.console.print(self.sentence(), highlight=False)
