"""A request to stop that reaches every process of a run: a file that its trials look for.

A trial that finds it writes a checkpoint at its next update and ends. Whoever is asked a second time, or asks where
nobody heeds it, ends at once.
"""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from dataclasses import dataclass

from harness.storage import files
from harness.storage.objects import place

LOOK = 3.0
"""Seconds between two looks into an object store."""


@dataclass
class Stop:
    """Plain data, so that it travels to another process, where its file is looked for as well."""

    path: str
    heeded: bool = False  # set while something in this process ends in good order when it is asked to
    _looked: float = -math.inf
    _found: bool = False

    def __getstate__(self) -> dict[str, object]:
        """Another machine has another clock."""
        return self.__dict__ | {"_looked": -math.inf}

    @property
    def asked(self) -> bool:
        """Whether somebody asked. An object store is asked every few seconds, and counts each time."""
        if "://" not in self.path:
            return os.path.exists(self.path)
        if not self._found and time.monotonic() - self._looked > LOOK:
            self._looked, self._found = time.monotonic(), self._there()
        return self._found

    def _there(self) -> bool:
        try:
            return place(self.path).exists()
        except OSError:  # it does not answer now
            return False

    def ask(self) -> bool:
        """Ask every trial of the run to stop. False: nobody heeds it, or it was asked before, or there is no room for
        a file; then whoever asks ends at once."""
        if not self.heeded or self.asked:
            return False
        try:
            files.make_folder(place(self.path).parent)
            place(self.path).write_bytes(b"")
        except OSError:
            return False
        self._found = True
        return True

    def withdraw(self) -> None:
        """Remove the file, at the end of the run."""
        with suppress(OSError):
            place(self.path).unlink()
            if "://" not in self.path:
                os.rmdir(os.path.dirname(self.path))
