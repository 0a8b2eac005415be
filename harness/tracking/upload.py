"""Complete W&B runs to W&B's server, beside training: never in its way.

W&B's own `wandb sync` does it, in a process of low priority, so that a fault of its, a server that hangs or a
lost network cannot reach a trial. What fails is said once and the runs stay offline, whole, for `harness wandb sync`.
"""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from harness import redact
from harness.tracking.runs import MARK

INTERVAL = 30.0
"""Seconds between two uploads while trials run: each costs a core some two seconds."""
AT_ONCE = 50
"""Runs that one process uploads."""
FIRST, EACH = 60.0, 2.0
"""Seconds after which an upload is given up: to begin with, and for each run."""
NICENESS, SLOWER = 10, 10
"""Of an upload beside training, and how much longer it may take: at 19 a busy machine gave it no time at all."""
PATIENCE = {
    "WANDB_HTTP_TIMEOUT": "10",
    "WANDB__GRAPHQL_RETRY_MAX": "2",
    "WANDB__GRAPHQL_RETRY_WAIT_MIN_SECONDS": "1",
    "WANDB__GRAPHQL_RETRY_WAIT_MAX_SECONDS": "4",
    "WANDB__FILE_STREAM_TIMEOUT_SECONDS": "10",
    "WANDB__FILE_STREAM_RETRY_MAX": "2",
    "WANDB__FILE_TRANSFER_TIMEOUT_SECONDS": "10",
    "WANDB__FILE_TRANSFER_RETRY_MAX": "2",
}
"""How long W&B's client tries, unless the user says otherwise; by itself it would for hours."""


def pending(folder: Path) -> list[Path]:
    """Return the run folders under `folder` that W&B's server does not have yet."""
    marks = sorted((folder / "wandb").glob(f"offline-run-*/{MARK}"))
    return [mark.parent for mark in marks if not list(mark.parent.glob("*.wandb.synced"))]


def upload(
    runs: Sequence[Path],
    entity: str = "",
    project: str = "",
    given_up: Callable[[], bool] = lambda: False,
    gently: bool = False,
) -> str:
    """Upload runs; return "" where the server has them all, else why not, in one line without secrets.

    `given_up`: whether to leave it. `gently`: at low priority, beside training.
    """
    place = [word for flag, name in (("--entity", entity), ("--project", project)) if name for word in (flag, name)]
    command = [sys.executable, "-m", "wandb", "sync", "--yes", *place, *map(str, runs)]
    inherited = {name: value for name, value in os.environ.items() if name not in ("WANDB_MODE", "WANDB_SILENT")}
    with tempfile.TemporaryDirectory(prefix="harness-wandb-") as scratch:
        Path(scratch, "wandb").mkdir()
        chatter = Path(scratch, "chatter.txt")
        environment = PATIENCE | inherited | {"WANDB_DIR": scratch, "WANDB_ERROR_REPORTING": "false", "NO_COLOR": "1"}
        with chatter.open("wb") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, start_new_session=True
            )
            if gently:
                with suppress(OSError):
                    os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
            limit = (FIRST + EACH * len(runs)) * (SLOWER if gently else 1)
            ended = _wait(process, limit, given_up)
        left = [run for run in runs if not list(run.glob("*.wandb.synced"))]
        if not left:
            return ""
        why = _fault(chatter.read_text("utf-8", "replace")) if ended else "it did not end in time"
        return redact.text(why)


def _wait(process: subprocess.Popen[bytes], limit: float, given_up: Callable[[], bool]) -> bool:
    """Wait for a process and return whether it ended by itself; it is ended after `limit` seconds, or if given up."""
    until = time.monotonic() + limit
    while process.poll() is None:
        if time.monotonic() > until or given_up():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return False
        time.sleep(0.1)
    return True


def _fault(chatter: str) -> str:
    """Return the last thing that W&B's client calls an error, and what to do about a key that is not there or wrong."""
    lines = [re.sub(r"^(wandb: )?ERROR |^Error: ", "", line) for line in chatter.splitlines() if "rror" in line[:14]]
    told = [line.strip() for line in lines if "error logs at" not in line and "init_timeout" not in line]
    last = told[-1] if told else "its client said no error, and marked no run as uploaded"
    return "the server refused the key (HTTP 401 or 403)" if last == "<no message>" else last


class Uploader:
    """Uploads what appears under a benchmark's folder while inside, and the rest at the end.

    `say` gets one line when it is left: what was uploaded, or the only warning there will be. Nothing is waited for or
    said once the run is `stopped`: a cluster gives it seconds, and the runs are whole.
    """

    def __init__(self, folder: Path, say: Callable[[str], None], stopped: Callable[[], bool] = lambda: False) -> None:
        self.folder, self.say, self.stopped = folder, say, stopped
        self.place = (os.environ.get("WANDB_ENTITY", ""), os.environ.get("WANDB_PROJECT", ""))
        self.uploaded, self.fault, self.until = 0, "", math.inf
        self.ended, self.cancelled = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._watch, name="wandb-upload", daemon=True)

    def __enter__(self) -> Uploader:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.until = time.monotonic() + FIRST
        self.ended.set()
        if error is not None:
            self.cancelled.set()
        self.thread.join()
        while not self.fault and not self._given_up() and self._step(gently=False):
            pass
        left = len(pending(self.folder))
        if self.fault and not self._given_up():
            self.say(
                f"warning: W&B has not got {left} of {left + self.uploaded} runs: {self.fault}\n"
                f"  they are whole in {self.folder / 'wandb'}; try: harness wandb sync {self.folder}"
            )
        elif self.uploaded:
            self.say(f"W&B: {self.uploaded} runs uploaded")

    def _given_up(self) -> bool:
        return self.cancelled.is_set() or self.stopped()

    def _late(self) -> bool:
        """Whether an upload that began beside training holds up the end of the command."""
        return self._given_up() or time.monotonic() > self.until

    def _watch(self) -> None:
        while not self.fault and not self.ended.wait(INTERVAL):
            self._step(gently=True)

    def _step(self, gently: bool) -> bool:
        """Upload some of what is pending; return whether there was any."""
        runs = pending(self.folder)[:AT_ONCE]
        if runs:
            try:
                self.fault = upload(runs, *self.place, self._late if gently else self._given_up, gently)
            except Exception as error:  # whatever goes wrong with a mirror costs no trial
                self.fault = redact.text(f"{type(error).__name__}: {error}")
            self.uploaded += len(runs) - len(set(runs) & set(pending(self.folder)))
        return bool(runs)
