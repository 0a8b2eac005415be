"""A request to stop that reaches every process of a run: a file that its trials look for.

A trial that finds it writes a checkpoint at its next update and ends. Whoever is asked a second time, or asks where
nobody heeds it, ends at once.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness import files


@dataclass
class Stop:
    """Plain data, so that it travels to another process, where its file is looked for as well."""

    path: str
    heeded: bool = False  # set while something in this process ends in good order when it is asked to

    @property
    def asked(self) -> bool:
        """Whether somebody asked."""
        return os.path.exists(self.path)

    def ask(self) -> bool:
        """Ask every trial of the run to stop. False: nobody heeds it, or it was asked before, or there is no room for
        a file; then whoever asks ends at once."""
        if not self.heeded or self.asked:
            return False
        try:
            files.make_folder(Path(self.path).parent)
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o666))
        except OSError:
            return False
        return True

    def withdraw(self) -> None:
        """Remove the file, at the end of the run."""
        with suppress(OSError):
            os.unlink(self.path)
            os.rmdir(os.path.dirname(self.path))
