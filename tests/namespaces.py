"""Nodes of a network on one machine: namespaces joined by a bridge, a Ray node in each, links to cut, machines to kill.

Each node has a network, a process tree and a host name of its own, and an address that no other network knows. Killing
the first process of its tree ends all of it, as a power cut does. What they share is the file system. Needs root, ip
(iproute2), unshare and setpriv (util-linux).
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PORT = 6400
STORE = 80_000_000
"""Bytes of an object store; Ray takes no less."""
HEALTH = {"RAY_health_check_timeout_ms": "3000"}
"""As in cluster/: a silent node is given up after 5 checks of 3 seconds, 3 apart. With Ray's 10 seconds a check, cut
links were seen after 32, 48 and more than 60 seconds."""
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""A test that is killed takes its nodes with it."""


class Node:
    """One of them. `ray` is its first process, or None while the node is off."""

    def __init__(self, name: str, address: str, folder: Path) -> None:
        self.name, self.address, self.folder = name, address, folder
        self.ray: subprocess.Popen[bytes] | None = None

    def pids(self, command: str = "") -> list[int]:
        """Processes on this node, those with a word in their command line."""
        found = [int(word) for word in _ip("netns", "pids", self.name).split()]
        return [pid for pid in found if command in _command(pid)]


class Network:
    """A head and workers. `environment` is what every process on it has."""

    def __init__(self, workers: int) -> None:
        self.id = f"rh{secrets.token_hex(2)}"
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.id}-", dir="/tmp"))  # a short name: sockets lie below it
        self.sessions = self.folder / "ray"  # where the head keeps its sockets and logs; workers see a folder of theirs
        self.nodes = [Node(f"{self.id}{i}", f"10.77.0.{i + 1}", self.folder / str(i)) for i in range(workers + 1)]
        self.head, self.workers = self.nodes[0], self.nodes[1:]
        self.started: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("RAY_")},
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16), "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",  # else they wait for whatever else runs on a busy machine
            "RAY_ADDRESS": f"{self.head.address}:{PORT}", "OMP_NUM_THREADS": "1",
        }  # fmt: skip

    def __enter__(self) -> Network:
        self.sessions.mkdir()
        for node in self.nodes:
            node.folder.mkdir()
            _ip("netns", "add", node.name)
            _ip("-n", node.name, "link", "set", "lo", "up")
        head = self.head.name
        _ip("-n", head, "link", "add", "bridge", "type", "bridge")
        _ip("-n", head, "addr", "add", f"{self.head.address}/24", "dev", "bridge")
        _ip("-n", head, "link", "set", "bridge", "up")
        for node in self.workers:
            link = ("link", "add", node.name, "type", "veth", "peer", "name", "eth0", "netns", node.name)
            _ip("-n", head, *link)
            _ip("-n", head, "link", "set", node.name, "master", "bridge", "up")
            _ip("-n", node.name, "addr", "add", f"{node.address}/24", "dev", "eth0")
            _ip("-n", node.name, "link", "set", "eth0", "up")
        return self

    def __exit__(self, *_: Any) -> None:
        for process in self.started:
            process.kill()
            process.wait(30)
        for node in reversed(self.nodes):
            self.kill(node)
        for node in self.nodes:
            for pid in node.pids():
                os.kill(pid, signal.SIGKILL)
            _ip("netns", "delete", node.name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, node: Node) -> None:
        """Switch a node on: Ray, as the documentation says, in a process tree of its own."""
        assert node.ray is None
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        command += [f"--node-ip-address={node.address}", "--num-cpus=1", f"--object-store-memory={STORE}"]
        if node is self.head:
            command += ["--head", f"--port={PORT}", f"--temp-dir={self.sessions}", "--include-dashboard=false"]
        else:
            command += [f"--address={self.head.address}:{PORT}"]
        own = ["unshare", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
        mount = f"mount --bind {node.folder} {self.sessions} &&" if node is not self.head else ""
        shell = ["sh", "-c", f'{mount} hostname {node.name} && exec "$@"', "sh"]
        with open(self.log(node), "ab") as log:
            node.ray = subprocess.Popen(
                [*DIES_WITH_US, "ip", "netns", "exec", node.name, *own, *shell, *command], stdout=log, stderr=log,
                env=self.environment | HEALTH | {"RAY_TMPDIR": str(self.sessions)}, start_new_session=True,
            )  # fmt: skip

    def log(self, node: Node) -> Path:
        """What `ray start` says on a node."""
        return self.folder / f"{node.name}.log"

    def kill(self, node: Node) -> None:
        """Switch a node off: its first process is killed, and the kernel ends the others with it."""
        if node.ray is not None:
            node.ray.kill()
            node.ray.wait(30)
            node.ray = None
            until(lambda: not node.pids("ray"), 10)

    def link(self, node: Node, state: str) -> None:
        """Cut the link of a worker ("down"), or mend it ("up"). It is cut at the bridge, so the node sees nothing."""
        _ip("-n", self.head.name, "link", "set", node.name, state)

    def run(self, node: Node, *command: str, log: Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start a command on a node's network."""
        with open(log, "ab") as out:
            started = subprocess.Popen(
                [*DIES_WITH_US, "ip", "netns", "exec", node.name, *command], stdout=out, stderr=out,
                env=self.environment | environment, start_new_session=True,
            )  # fmt: skip
        self.started.append(started)
        return started

    def up(self, count: int, seconds: float = 60.0) -> None:
        """Wait until the head counts so many nodes."""
        code = "import ray, sys; ray.init(logging_level='error'); print('alive', sum(n['Alive'] for n in ray.nodes()))"
        command = ["ip", "netns", "exec", self.head.name, sys.executable, "-c", code]

        def counted() -> bool:
            done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
            return f"alive {count}" in done.stdout

        until(counted, seconds)


def until(true: Callable[[], object], seconds: float, every: float = 0.1) -> float:
    """Wait until something is true, and return how long that took."""
    begin = time.monotonic()
    while not true():
        assert time.monotonic() - begin < seconds, f"not within {seconds:g} s"
        time.sleep(every)
    return time.monotonic() - begin


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.stdout


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
