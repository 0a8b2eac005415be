"""`harness doctor`: everything that a job needs, here, on the way and there; each thing that is missing by name."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness import machine
from harness.errors import Fault, HarnessError, UserError
from harness.jobs import client as jobs
from harness.jobs import cluster as clusters
from harness.jobs import notes, submit, upload
from harness.jobs.cluster import Cluster
from harness.jobs.follow import follow
from harness.storage import files
from harness.storage.objects import ObjectError, place

SLOW = 2.0
"""Seconds after which an answer of the dashboard is worth a word: each verb asks several times."""
ROOM = 2**30
PATIENCE = 180.0
"""Seconds for the job that looks at the nodes; it needs a few, and a cluster that scales up a minute or two."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    found: str
    sound: bool = True
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{'ok     ' if self.sound else 'MISSING'}  {self.what}: {self.found}"
        return line + (f"\n           try: {self.remedy}" if self.remedy else "")


def here(results: Path) -> Iterator[Finding]:
    """Yield what is found on this machine."""
    python = sys.version_info >= (3, 11)
    yield Finding("Python", machine.facts()["python"], python, "" if python else "Python 3.11 or later")
    for name, package in machine.PACKAGES.items():
        found = machine.version(package)
        if package != "rnn-harness" or found:  # a source tree that is not installed runs as well
            yield Finding(name, found or "not installed", bool(found), "" if found else f"pip install {package}")
    try:
        machine.check_installation()
    except UserError as error:
        yield from (Finding("installation", fault.what, False, fault.remedy) for fault in error.faults)
    lacking = [part for part in ("requests", "aiohttp") if find_spec(part) is None]
    yield Finding("client of Ray Jobs", f"no {', '.join(lacking)}" if lacking else "here", not lacking,
                  jobs.EXTRA if lacking else "")  # fmt: skip
    yield from _settings()
    free = shutil.disk_usage(_existing(results)).free
    yield Finding("disk for results", f"{free / 2**30:.1f} GiB free", free > ROOM, "" if free > ROOM else "free some")


def _settings() -> Iterator[Finding]:
    """Yield what the environment and the token's file say, never the token."""
    for name in jobs.OVERRIDES:
        if os.environ.get(name):
            yield Finding(name, "is set, so Ray's client talks to it whatever --on names", False, f"unset {name}")
    found = jobs.token()
    path = Path(found) if found and found != "RAY_AUTH_TOKEN" else None
    if path and stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Finding("token", f"{path} can be read by others on this machine", False, f"chmod 600 '{path}'")
    else:
        yield Finding("token", f"from {found}" if found else "none, so only a dashboard on loopback is used")


def _existing(path: Path) -> Path:
    whole = path.resolve()
    return next(folder for folder in (whole, *whole.parents) if folder.exists())


def there(on: str, results: Path, no_token: bool, say: Callable[[str], object]) -> Iterator[Finding]:
    """Yield what is found of a cluster; a job that looks at every node, and does no more, is the last of it."""
    cluster = clusters.read(on)
    yield Finding("file", f"{on} names {cluster.dashboard} and {cluster.results}")
    begin = time.monotonic()
    try:
        client = jobs.connect(cluster, no_token)
    except HarnessError as error:
        yield from _failed("dashboard", error)
        return
    took = time.monotonic() - begin
    slow = f"; each request may take {jobs.TIMEOUT:g} seconds" if took > SLOW else ""
    yield Finding("dashboard", f"answered in {took:.1f} seconds{slow}")
    yield auth(cluster)
    try:
        submit.same_ray(client.ray_version, cluster)
        yield Finding("Ray there", client.ray_version)
        nodes = jobs.nodes(cluster)
    except HarnessError as error:
        yield from _failed("Ray there", error)
        return
    cpus, gpus = (sum(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU"))
    grows = cluster.node is not None
    yield Finding("resources", f"{len(nodes)} nodes up, {cpus:g} CPUs, {gpus:g} GPUs", cpus > 0 or grows,
                  "" if cpus or grows else "start a worker")  # fmt: skip
    yield from _shared(cluster)
    yield _probe(client, cluster, results, say)


def auth(cluster: Cluster) -> Finding:
    """Return how this machine shows that it may, and whether others on the way can learn it."""
    if shown := jobs.exposed(cluster):
        return Finding("auth", f"with a token: {shown}", False, jobs.TUNNEL)
    return Finding("auth", "with a token" if jobs.token() else "without a token")


def _shared(cluster: Cluster) -> Iterator[Finding]:
    """Yield whether results can come home."""
    if cluster.fetch is not None:
        sound = shutil.which(cluster.fetch[0]) is not None
        yield Finding("fetch", f"by {cluster.fetch[0]}", sound, "" if sound else f"install {cluster.fetch[0]}")
        return
    probe = place(cluster.results) / f".probe-{os.getpid()}"
    try:
        files.publish(probe, b"probe")
        probe.unlink()
        yield Finding("fetch", f"{cluster.results} can be read and written here")
    except ObjectError as error:
        yield Finding("fetch", f"{cluster.results}: {error.what}", False, error.remedy)
    except OSError as error:
        yield Finding("fetch", f"{cluster.results} cannot be written here: {error.strerror}", False,
                      "mount it here, or name a command: `fetch:` in the cluster's file")  # fmt: skip


def _probe(client: Any, cluster: Cluster, results: Path, say: Callable[[str], object]) -> Finding:
    """Run a job that looks at every node: versions, and a probe file in the shared folder."""
    job = notes.new_id("doctor")
    package, _ = upload.package()
    staged = upload.Upload(package, "").stage(notes.folder(results, job) / "upload")
    environment = {"working_dir": str(staged)}
    try:
        with jobs.answering(cluster):
            command = f"python -m harness doctor --inside --results {shlex.quote(cluster.results)}"
            client.submit_job(entrypoint=command, submission_id=job, runtime_env=environment)
        found = follow(client, cluster, job, say, PATIENCE)
    except HarnessError as error:
        return next(_failed("nodes", error))
    finally:
        shutil.rmtree(notes.folder(results, job), ignore_errors=True)
    if found.state == "SUCCEEDED":
        return Finding("nodes", "every one has the same versions and sees the shared folder")
    what = f"the job {job} that looks at them {found.state}: {' '.join(found.message.split())[-300:]}"
    return Finding("nodes", what, False, f"harness logs {job} --on FILE")


def _failed(what: str, error: HarnessError) -> Iterator[Finding]:
    """Yield an error as findings."""
    faults = error.faults if isinstance(error, UserError) else [Fault(str(error))]
    for fault in faults:
        yield Finding(what, f"{fault.where}: {fault.what}" if fault.where else fault.what, False, fault.remedy)
