"""Processes of trials show that they live, so that one that freezes is missed: it is ended, and its trial goes on.

Ray notices a process that dies, and waits for ever for one that is stopped or stuck. Each process beats, from a thread
of its own, by the time of a file in the scratch folder; who watches looks at whether that time changes, by a clock of
its own, and forgives what it could not see itself, as while the whole machine slept.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

SILENCE = 60.0
"""Seconds without a beat after which a process counts as frozen."""
PERIOD = 2.0
"""Seconds between two beats."""
FOLDER = "pulse"
_beating: set[str] = set()


def beat(folder: str) -> None:
    """From now on this process beats, once for each folder."""
    if folder not in _beating:
        _beating.add(folder)
        own = Path(folder, FOLDER, f"{os.getpid()}-{_born(os.getpid())}")
        with suppress(OSError):
            own.parent.mkdir(exist_ok=True)
            own.touch()
            threading.Thread(target=_beat, args=(own,), daemon=True).start()


def _beat(own: Path) -> None:
    with suppress(OSError):  # the folder has gone, and the command with it
        while True:
            os.utime(own)
            time.sleep(PERIOD)


def _born(process: int) -> str:
    """Return when a process began, in ticks since the machine started; "" where there is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


class Watchdog:
    """Ends processes of this machine that do not beat."""

    def __init__(self, folder: str, silence: float | None = None) -> None:
        self.folder, self.silence = Path(folder, FOLDER), SILENCE if silence is None else silence
        self._seen: dict[str, tuple[int, float]] = {}  # name -> its last beat, and when that was seen
        self._looked = time.monotonic()

    def look(self) -> list[int]:
        """Return the processes that were frozen, and have been ended."""
        now = time.monotonic()
        if now - self._looked < PERIOD / 2:
            return []
        slept, self._looked = now - self._looked > self.silence / 2, now
        if slept:
            self._seen.clear()
        ended = []
        for path in self.folder.glob("*-*") if self.folder.is_dir() else ():
            process, _, born = path.name.partition("-")
            with suppress(OSError):
                stamp = path.stat().st_mtime_ns
                if self._seen.get(path.name, (0, now))[0] != stamp:
                    self._seen[path.name] = stamp, now
                elif _born(int(process)) != born:
                    path.unlink()
                elif now - self._seen[path.name][1] > self.silence:
                    os.kill(int(process), signal.SIGKILL)
                    path.unlink()
                    ended.append(int(process))
        return ended
