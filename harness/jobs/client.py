"""Ray's own client of Ray Jobs, with time-outs, refusals before anything is sent, and errors that say what to do."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import Fault, Stopped, UserError, nearest
from harness.jobs.cluster import Cluster

TIMEOUT = 30.0
"""Seconds that a request may take. Ray's client itself waits for ever."""
EXTRA = "pip install 'rnn-harness[cluster]'"
TALK = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
"""Loggers of Ray's client that tell of every package and every stream."""
OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Variables that make Ray's client talk to another cluster than it is told."""
OURS = {2, 3, 4, 5, 6, 75}
"""Exit codes of `harness run` that a job hands on."""
UNDECIDED = 4


class Unreachable(Stopped):
    """The cluster does not answer: what it does meanwhile is not known, so this is never a success."""


@dataclass(frozen=True)
class Job:
    """What the cluster says of a job."""

    id: str
    state: str
    message: str = ""
    exit_code: int | None = None
    started: float | None = None
    ended: float | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.state in {"SUCCEEDED", "FAILED", "STOPPED"}

    @property
    def outcome(self) -> int:
        """The exit code that tells the truth: 0 for SUCCEEDED alone.

        The code of `harness run` where the job left one; 75 where it was stopped, or killed with its node, so that
        `harness resume` goes on; 4 while it runs.
        """
        if self.state == "SUCCEEDED":
            return 0
        if not self.over:
            return UNDECIDED
        if self.exit_code in OURS:
            return self.exit_code
        killed = self.exit_code is not None and (self.exit_code < 0 or self.exit_code > 128)
        return Stopped.exit_code if killed or self.state == "STOPPED" or _lost(self.message) else 1


def _lost(message: str) -> bool:
    """Whether a job failed since its process, or the node under it, went away."""
    return any(sign in message.lower() for sign in ("unexpectedly", "node died", "actor died", "actordied", "killed"))


TUNNEL = "an ssh tunnel, and http://127.0.0.1:8265 in the file; or https"
"""What keeps a token between two machines."""


def token() -> str:
    """Say where Ray would find a token; "" where it finds none."""
    path = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    at_home = Path.home() / ".ray" / "auth_token"
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return ""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    return path if path and Path(path).is_file() else str(at_home) if at_home.is_file() else ""


def exposed(cluster: Cluster) -> str:
    """Say whom a token is shown to on its way; "" where there is none, or it goes by https or stays on this machine."""
    if cluster.loopback or not cluster.dashboard.startswith("http:") or not token():
        return ""
    return f"the token goes to {cluster.dashboard} by http, which shows it to everyone on the way"


def open_to_all(cluster: Cluster, no_token: bool) -> bool:
    """Whether it was said twice, in the file and by the option, to go without a token."""
    return cluster.token == "none" and no_token


def refuse(cluster: Cluster, no_token: bool) -> None:
    """Raise UserError where a request would go elsewhere, or open to everyone on the way. Nothing was sent yet."""
    faults = [
        Fault(f"{name} is set, and Ray's client obeys it instead of {cluster.dashboard}", remedy=f"unset {name}")
        for name in OVERRIDES
        if os.environ.get(name)
    ]
    if not cluster.loopback and not token() and not open_to_all(cluster, no_token):
        what = f"{cluster.dashboard} is not on this machine and there is no token: whoever reaches it runs code there"
        twice = "to go without say it twice, `token: none` in the file and --no-token"
        faults.append(Fault(what, remedy=f"export RAY_AUTH_TOKEN_PATH=FILE, or an ssh tunnel to it; {twice}"))
    if faults:
        raise UserError(faults)


def connect(cluster: Cluster, no_token: bool = False) -> Any:
    """Return Ray's JobSubmissionClient on a cluster that answers."""
    refuse(cluster, no_token)
    if open_to_all(cluster, no_token):
        os.environ["RAY_AUTH_MODE"] = "disabled"  # else Ray's client sends whatever token it finds
    if token():
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # else Ray's client keeps the token to itself
    try:
        import aiohttp  # noqa: F401  Ray's client falls over later without them
        import requests  # noqa: F401
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise UserError(Fault(f"Ray Jobs need {error.name or error}, which is not installed", remedy=EXTRA)) from None

    class Client(JobSubmissionClient):
        def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
            return super()._do_request(method, endpoint, **{"timeout": TIMEOUT, **options})

        @property
        def ray_version(self) -> str:
            return self._server_ray_version or ""

    for name in TALK:
        logging.getLogger(name).setLevel(logging.WARNING)
    with answering(cluster):
        return Client(cluster.dashboard)


@contextmanager
def answering(cluster: Cluster) -> Iterator[None]:
    """Inside, Ray's client talks to a cluster; what goes wrong is said in our words."""
    import requests
    from ray.exceptions import AuthenticationError

    there = cluster.dashboard
    try:
        yield
    except AuthenticationError:
        what = f"{there} wants {'another' if token() else 'a'} token"
        remedy = "give this machine the head's: RAY_AUTH_TOKEN_PATH=FILE, or ~/.ray/auth_token"
        raise UserError(Fault(what, f"found: {token() or 'none'}", remedy=remedy)) from None
    except requests.exceptions.Timeout:
        raise Unreachable(
            f"{there} did not answer within {TIMEOUT:g} seconds\n  try: harness doctor --on FILE"
        ) from None
    except (requests.exceptions.RequestException, ConnectionError):
        remedy = "is the tunnel up, and ray[default] on the head? harness doctor --on FILE"
        raise Unreachable(f"no answer at {there}\n  try: {remedy}") from None
    except RuntimeError as error:
        if "404" not in str(error):
            raise Unreachable(f"{there} answers, but not as Ray Jobs do: {_first(error)}") from None
        raise UserError(Fault(f"{there} answers 404: {_first(error)}", remedy="harness status --on FILE")) from None


def _first(error: Exception) -> str:
    """Return an error in one line of at most 300 characters."""
    return " ".join(str(error).split())[:300]


def every(client: Any, cluster: Cluster) -> list[Job]:
    """Return all jobs that were submitted to a cluster, the latest first."""
    with answering(cluster):
        listed = [_job(details) for details in client.list_jobs() if details.submission_id]
    return sorted(listed, key=lambda job: job.started or 0.0, reverse=True)


def find(client: Any, cluster: Cluster, job: str) -> Job:
    """Return a job by its id; UserError, with the nearest that exists, where there is none."""
    with answering(cluster):
        try:
            return _job(client.get_job_info(job))
        except RuntimeError as error:
            if "404" not in str(error):
                raise
    known = [one.id for one in every(client, cluster)]
    allowed = ", ".join(known[:10]) or "none was submitted"
    raise UserError(Fault(f"no job {job!r} on {cluster.dashboard}", "", allowed, nearest(job, known)))


def _job(details: Any) -> Job:
    moments = [at / 1000 if at else None for at in (details.start_time, details.end_time)]
    state = getattr(details.status, "value", str(details.status))
    return Job(details.submission_id, state, details.message or "", details.driver_exit_code, *moments)


def nodes(cluster: Cluster) -> list[dict[str, float]]:
    """Return the resources of each node that is up."""
    from ray.util.state import list_nodes
    from ray.util.state.exception import RayStateApiException

    with answering(cluster):
        try:
            found = list_nodes(
                address=cluster.dashboard, timeout=int(TIMEOUT), limit=10_000, raise_on_missing_output=False
            )
        except RayStateApiException as error:
            raise RuntimeError(f"the list of nodes: {error}") from None
    return [dict(node.resources_total) for node in found if node.state == "ALIVE"]
