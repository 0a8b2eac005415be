"""Following a job to its end. A stream that breaks is taken up again; only the job's own state says how it ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from harness.errors import UserError
from harness.jobs import client as jobs
from harness.jobs.client import Job, Unreachable
from harness.jobs.cluster import Cluster

PATIENCE = 600.0
"""Seconds that a cluster may be silent before following gives up, with exit code 75."""
NAP, QUIET = 1.0, 60.0


class _Log:
    """Writes each character of a log once: a stream that is taken up again begins at the beginning."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self.write, self.written, self.at = write, 0, 0

    def rewind(self) -> None:
        """A stream begins."""
        self.at = 0

    def take(self, text: str) -> None:
        """A stream goes on by this."""
        self.at += len(text)
        new = self.at - self.written
        if new > 0:
            self.write(text[-new:])
            self.written = self.at


def follow(client: Any, cluster: Cluster, job: str, write: Callable[[str], object], patience: float = PATIENCE) -> Job:
    """Write the log of a job as it grows, and return the job when it is over.

    Raises Unreachable after `patience` seconds without an answer: the job may well go on.
    """
    log, heard = _Log(write), time.monotonic()
    while True:
        try:
            found = jobs.find(client, cluster, job)
            heard = time.monotonic()
            if found.over:
                _rest(client, cluster, job, log)
                return found
            log.rewind()
            asyncio.run(_stream(client, job, log))
        except UserError:
            raise
        except Exception as error:  # whatever a broken stream raises: aiohttp, asyncio, Ray or the system
            if not _is_broken(error):
                raise
            if time.monotonic() - heard > patience:
                raise Unreachable(
                    f"{cluster.dashboard} was silent for {patience:g} seconds; the job may go on\n"
                    f"  try: harness status {job} --follow"
                ) from None
        time.sleep(NAP)


def _is_broken(error: Exception) -> bool:
    import aiohttp

    return isinstance(error, Unreachable | aiohttp.ClientError | asyncio.TimeoutError | OSError | RuntimeError)


async def _stream(client: Any, job: str, log: _Log) -> None:
    """Take what comes. Silence may be a quiet job or a dead line: after QUIET seconds it is asked again."""
    stream = client.tail_job_logs(job)
    while True:
        try:
            async with asyncio.timeout(QUIET):  # Python 3.11's `wait_for` loses a Ctrl-C that comes with a chunk
                text = await anext(stream)
            log.take(text)
        except StopAsyncIteration:
            return


def _rest(client: Any, cluster: Cluster, job: str, log: _Log) -> None:
    """Write what no stream brought. A log that is gone with its node costs nothing but its lines."""
    try:
        with jobs.answering(cluster):
            text = client.get_job_logs(job)
    except (UserError, Unreachable) as error:
        log.write(f"\n(the end of the log is not to be had: {error})\n")
        return
    log.rewind()
    log.take(text)
