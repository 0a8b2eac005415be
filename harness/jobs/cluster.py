"""The file that `--on` names: where a cluster answers, and the folder that all of its nodes share.

    dashboard: http://127.0.0.1:8265      # of the head; through a tunnel it is this machine's
    results: /shared/rnn-harness/results  # absolute, or s3://BUCKET/PREFIX or gs://; every node writes there
    cache: /shared/rnn-harness/cache      # optional: HARNESS_CACHE there, for data sets
    fetch: [rsync, -a, "head:{from}/", "{to}/"]  # optional: how a folder comes home where `results` isn't mounted here
    node: {cpus: 16}                      # optional: the largest node that an autoscaler may add; for `harness plan`
                                          # also count, gpus, speed, price and hours_between_failures
    network: {latency: 5.0e-5, bandwidth: 1.2e+9}  # optional, for `plan`: seconds and bytes a second between two nodes
    gpus_per_trial: 0.25                  # optional: trials train on so much of a GPU each, as of `harness run`
    gpu_wait: 900                         # optional: seconds until an autoscaler has brought one; so many by default
                                          # where `node` has gpus, else 0
    token: none                           # optional: the cluster is open; say --no-token as well

No secret belongs in it: Ray finds its token in RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from harness.config import yamlfile
from harness.config.wording import reason
from harness.errors import Fault, UserError, nearest
from harness.launch import gpus
from harness.launch.scale_up import DEFAULT_WAIT
from harness.storage.objects import place


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        sound = None
    if not sound:
        raise ValueError("not the URL of a dashboard; allowed: http://HOST:8265, or https")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("a URL with a user, password or query; Ray finds its token in RAY_AUTH_TOKEN")
    return text.rstrip("/")


def _absolute(text: str) -> str:
    path = PurePosixPath(text)
    if not path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
        raise ValueError(
            "not an absolute path; a job works in a copy that goes with it, so only one that all share stays"
        )
    return str(path)


def _results(text: str) -> str:
    if "://" not in text:
        return _absolute(text)
    try:
        return str(place(text))
    except UserError as error:
        raise ValueError(error.faults[0].what) from None


def _share(share: float) -> float:
    try:
        return gpus.asked(share)
    except UserError as error:
        raise ValueError(f"{error.faults[0].what}; allowed: {error.faults[0].allowed}") from None


def _command(words: list[str]) -> list[str]:
    if not words or not any("{from}" in word for word in words) or not any("{to}" in word for word in words):
        raise ValueError("not a command with {from}, the folder there, and {to}, the folder here")
    return words


Shared = Annotated[str, AfterValidator(_absolute)]


class Node(BaseModel):
    """What one node has. All but `cpus` is for `harness plan` alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    cpus: int = Field(ge=1, le=100_000)
    count: int = Field(1, ge=1, le=100_000)  # nodes there are, or that an autoscaler may add
    gpus: int = Field(0, ge=0, le=1_000)  # a worker takes one of these, where there are any
    speed: float = Field(1.0, gt=0)  # of what a worker takes, in cores of the machine that plans
    price: float = Field(0.0, ge=0)  # of an hour, in any currency
    hours_between_failures: float | None = Field(None, gt=0)  # mean, of one node: failure or preemption


class Between(BaseModel):
    """What lies between two nodes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    latency: float = Field(ge=0)  # seconds
    bandwidth: float = Field(gt=0)  # bytes a second


class Cluster(BaseModel):
    """A cluster as its file describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dashboard: Annotated[str, AfterValidator(_url)]
    results: Annotated[str, AfterValidator(_results)]
    cache: Shared | None = None
    fetch: Annotated[list[str], AfterValidator(_command)] | None = None
    node: Node | None = None
    network: Between | None = None
    gpus_per_trial: Annotated[float, AfterValidator(_share)] = 0.0
    gpu_wait: float | None = Field(None, ge=0, allow_inf_nan=False)
    token: Literal["none"] | None = None

    @property
    def loopback(self) -> bool:
        """Whether the dashboard answers on this machine, where a tunnel may begin."""
        host = urlsplit(self.dashboard).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def patience(self) -> float:
        """Seconds that a job waits for GPUs."""
        brings = self.node is not None and self.node.gpus > 0
        return (DEFAULT_WAIT if brings else 0.0) if self.gpu_wait is None else self.gpu_wait

    @property
    def variables(self) -> dict[str, str]:
        """Environment of the job. Nothing of this machine's environment ever joins it."""
        return {"HARNESS_CACHE": self.cache} if self.cache else {}


def read(path: str | Path) -> Cluster:
    """Return the cluster in a file; UserError carries every fault found."""
    document = yamlfile.read(path)
    faults = list(document.faults)
    if not isinstance(document.data, dict):
        raise UserError([*faults, Fault("not a cluster", document.where(()), ", ".join(Cluster.model_fields))])
    try:
        found = Cluster(**document.data)
    except ValidationError as error:
        for one in error.errors():
            key = tuple(part for part in one["loc"] if isinstance(part, str | int))
            allowed, hint = "", ""
            if one["type"] == "extra_forbidden":
                inner: dict[Any, type[BaseModel]] = {"node": Node, "network": Between}
                fields = (inner[key[0]] if len(key) > 1 else Cluster).model_fields
                allowed, hint = ", ".join(fields), nearest(key[-1], fields)
            faults.append(Fault(reason(one), document.where(key), allowed, hint))
        raise UserError(faults) from None
    if faults:
        raise UserError(faults)
    return found
