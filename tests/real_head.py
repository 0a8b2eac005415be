"""A real head of Ray on this machine that has what it is told it has: in a process and a session folder of its own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CODE = """
import json, sys
import ray
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, connect=True, head_node_args=json.loads(sys.argv[1]))
print(cluster.address, flush=True)
input()
import ray._private.state
print(len(ray._private.state.jobs()), flush=True)
ray.shutdown()
cluster.shutdown()
"""


class Head:
    """`environment`: what a command needs to join it."""

    def __init__(self, process: subprocess.Popen[str], environment: dict[str, str]) -> None:
        self.process, self.environment = process, environment

    def end(self) -> int:
        """End it; return how many commands have ever joined it."""
        told, _ = self.process.communicate("\n", timeout=60)
        return int(told) - 1  # itself


@contextmanager
def serving(**resources: int) -> Iterator[Head]:
    """Serve with, say, num_cpus=2 and num_gpus=1, and a token."""
    asked = {"include_dashboard": False, "object_store_memory": 10**8, **resources}
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    with tempfile.TemporaryDirectory(prefix="rh-", dir="/tmp", ignore_cleanup_errors=True) as session:  # a short name
        own, log = environment | {"RAY_TMPDIR": session}, Path(session, "head.log")
        with open(log, "w") as said:
            process = subprocess.Popen(
                [sys.executable, "-c", CODE, json.dumps(asked)],
                env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True,
            )  # fmt: skip
        assert process.stdout
        address = process.stdout.readline().strip()
        assert address, log.read_text()
        head = Head(process, environment | {"RAY_ADDRESS": address})
        try:
            yield head
        finally:
            if process.poll() is None:
                head.end()
