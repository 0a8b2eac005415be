"""Inside a submitted job: the cluster that is there, after a look at each of its nodes.

What is wrong with a node is said before anything is trained: other versions would make other records, and a folder that
is not shared would lose them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harness import machine
from harness.errors import Fault, UserError
from harness.launch.gpus import OPTION, WITHOUT, blind
from harness.launch.head import watched
from harness.launch.scale_up import WAIT_OPTION
from harness.stop import Stop
from harness.storage import files
from harness.storage.objects import ObjectError, Place, place

ANSWER = 120.0
"""Seconds in which a node must tell of itself; it starts a process and imports the package for that."""
SHARE = "mount it there, or give that node access to the object store"
LIKE = ("python", "torch", "pytorch-lightning", "ray", "numpy")
"""What must be of one version on all nodes."""


@contextmanager
def attached(
    folder: Place,
    threads: int,
    stop: Stop | None = None,
    farewell: Callable[[str], object] = print,
    gpus: float = 0.0,
    ready: Callable[[], None] = lambda: None,
) -> Iterator[str]:
    """Join the cluster of the job around this process; yield a scratch folder below `folder`, which all nodes share.

    `ready` returns once the cluster is, before its nodes are looked at. Raises UserError outside a job, where a node
    that could run a trial of `threads` and a share of `gpus` does not suit, and where there is no GPU for it. Where the
    head goes away, trials are asked to `stop`, and this process ends after a `farewell(why)`.
    """
    with joined() as address:
        ready()
        check(survey(folder, gpus), threads, gpus)
        os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
        scratch = _scratch(folder)

        def leave(why: str) -> None:
            shutil.rmtree(scratch, ignore_errors=True)
            farewell(why)

        try:
            with watched(address, stop, leave):
                yield str(scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _scratch(folder: Place) -> Path:
    """Return a new folder for what Tune writes down: nobody reads it, so an object store is spared of it."""
    if not isinstance(folder, Path):
        return Path(tempfile.mkdtemp(prefix="tune-"))
    scratch = folder / f".tune-{secrets.token_hex(4)}"
    files.make_folder(scratch)
    return scratch


@contextmanager
def joined() -> Iterator[str]:
    """Join the cluster that Ray Jobs name, never another one that happens to run here; yield its address."""
    address = os.environ.get("RAY_ADDRESS", "")
    if not address or "://" in address:
        what = "not inside a Ray job: RAY_ADDRESS names no cluster"
        raise UserError(Fault(what, "--on cluster", remedy="harness submit FILE --on cluster/NAME.yaml"))
    for name, value in (("RAY_USAGE_STATS_ENABLED", "0"), ("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")):
        os.environ.setdefault(name, value)
    import ray

    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=True)
        signal.signal(signal.SIGTERM, handler)  # Ray's own would abort the command without a word
        yield address
    except ConnectionError as error:
        raise UserError(Fault(f"no cluster at {address}: {error}", "RAY_ADDRESS")) from None
    finally:
        ray.shutdown()


def survey(folder: Place, gpus: float = 0.0) -> list[dict[str, Any]]:
    """Return what each node says of itself, and whether it sees what this process writes into `folder`, and its GPUs
    where a share of one is asked for."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    marker = folder / f".seen-{secrets.token_hex(8)}"
    up = [node for node in ray.nodes() if node["Alive"]]
    with files.explained("the shared folder", marker):
        files.publish(marker, b"seen")
    try:
        ask = ray.remote(num_cpus=0, max_retries=1)(_tell)
        asked = {
            node["NodeID"]: ask.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], False)
            ).remote(str(marker), bool(gpus and node["Resources"].get("GPU")))
            for node in up
        }
        ray.wait(list(asked.values()), num_returns=len(asked), timeout=ANSWER)
        told = {node["NodeID"]: _answer(node, asked[node["NodeID"]]) for node in up}
        there = {node["NodeID"] for node in ray.nodes() if node["Alive"]}  # one that has gone meanwhile is no fault
        return [one for node, one in told.items() if node in there]
    finally:
        with suppress(OSError):
            marker.unlink()


def _answer(node: dict[str, Any], asked: Any) -> dict[str, Any]:
    """Return what a node told, or why it did not."""
    import ray

    have = node["Resources"]
    about = {"node": node["NodeManagerAddress"], "cpus": have.get("CPU", 0.0), "gpus": have.get("GPU", 0.0)}
    try:
        return about | ray.get(asked, timeout=0.1)
    except ray.exceptions.GetTimeoutError:
        return about | {"silent": f"it did not answer within {ANSWER:g} seconds"}
    except ray.exceptions.RayError as error:
        return about | {"silent": " ".join(str(error).split())[-300:]}


def _tell(marker: str, gpus: bool) -> dict[str, Any]:
    """Return what is true of the node that this runs on; `shared` is "" where it sees the folder, or what fails; and
    `blind` where torch sees GPUs, if they are asked for."""
    seen = place(marker)
    own, failed = seen.with_name(f".answer-{secrets.token_hex(8)}"), ""
    try:
        if not seen.exists():
            failed = "it does not see what another node wrote"
        else:
            files.publish(own, b"seen")
            own.unlink()
    except ObjectError as error:
        failed = error.what
    except OSError as error:
        failed = str(error.strerror or error)
    told = {"versions": versions(), "fingerprint": machine.fingerprint(), "shared": failed}
    return told | {"blind": blind() if gpus else ""}


def versions() -> dict[str, str]:
    """Return the versions here of what must be alike everywhere."""
    return {name: machine.facts()["python"] if name == "python" else machine.version(name) for name in LIKE}


def lines(told: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield what each node said, to be read beside what this machine has."""
    for node in told:
        found = [f"{name} {version or 'missing'}" for name, version in node.get("versions", {}).items()]
        kind = node.get("fingerprint", node.get("silent", ""))
        gpus = [f"{node['gpus']:g} GPUs"] if node["gpus"] else []
        yield ", ".join([f"node {node['node']}: {node['cpus']:g} CPUs", *gpus, kind, *found])


def check(told: Sequence[dict[str, Any]], threads: int, gpus: float = 0.0) -> None:
    """Raise UserError with everything that keeps a node from running trials; nodes without the CPUs, or the
    GPUs where a share of one is asked for, do not count."""
    faults, ours = [], versions()
    if gpus and not any(node["gpus"] >= gpus for node in told):
        remedy = f"{WITHOUT}; where an autoscaler brings them, {WAIT_OPTION} SECONDS"
        faults.append(Fault(f"{OPTION} {gpus:g}, and no node of the cluster has a GPU", remedy=remedy))
    for node in told:
        if node["cpus"] < threads or node["gpus"] < gpus:
            continue
        where = f"node {node['node']}"
        if "silent" in node:
            faults.append(Fault(node["silent"], where, remedy="look at its logs, or take it out of the cluster"))
            continue
        if node["shared"]:
            faults.append(Fault(f"the results folder is not shared: {node['shared']}", where, remedy=SHARE))
        if node["blind"]:
            what = f"Ray promises {node['gpus']:g} GPUs, and {node['blind']}"
            faults.append(Fault(what, where, remedy=f"a torch with CUDA and a driver there, or {WITHOUT}"))
        for name, found in node["versions"].items():
            if found != ours[name]:
                what = f"{name} {found or 'is not installed'}, and {ours[name]} on the head"
                faults.append(Fault(what, where, remedy="one image for all nodes: cluster/Containerfile"))
    if faults:
        raise UserError(faults)
