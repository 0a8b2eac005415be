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
    """Counts trials and says so. Time left is what the weight (estimated cost) done so far took, for what is left."""

    def __init__(self, console: Console, weights: Mapping[str, float], stored: int, lines: bool) -> None:
        """`weights`: trial id to estimated seconds, for trials to run. `lines`: print lines, draw nothing."""
        self.console, self.weights, self.stored = console, dict(weights), stored
        self.lines = lines or not console.is_terminal
        self.counts: Counter[str] = Counter()
        self.running: set[str] = set()
        self.weight_done = 0.0
        self.begin = time.monotonic()
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
        self.running.add(trial.id)
        self._update()

    def finished(self, trial: Trial, status: str, seconds: float) -> None:
        """A trial has its record."""
        self.running.discard(trial.id)
        self.counts[status] += 1
        self.weight_done += self.weights.get(trial.id, 0.0)
        if self.bar is not None and self.task is not None:
            self.bar.advance(self.task)
        self._update()

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
        seconds = (time.monotonic() - self.begin) * (total - self.weight_done) / self.weight_done
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
