"""A real head of Ray on this machine that has what it is told it has: in a process and a session folder of its own.

With `types` Ray's autoscaler stands behind it, and its own provider of machines that are processes here. Ray's way to
start such a cluster (ray.cluster_utils.AutoscalingCluster) ends every Ray of the machine first, and needs a file that
its wheel lacks; what it would start is started here.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CODE = """
import json, os, sys
from contextlib import suppress
import ray
from ray._private.services import get_node_ip_address
from ray.cluster_utils import Cluster

asked, types, place, port = json.loads(sys.argv[1]), json.loads(sys.argv[2]), *sys.argv[3:]
if types:
    from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FAKE_HEAD_NODE_TYPE

    provider = {"type": "fake_multinode", "gcs_address": f"{get_node_ip_address()}:{port}"}
    provider |= dict.fromkeys(["use_node_id_as_ip", "disable_node_updaters", "disable_launch_config_check"], True)
    head = {"resources": {"CPU": asked["num_cpus"]}, "node_config": {}, "max_workers": 0}
    config = {
        "cluster_name": "here", "provider": provider, "auth": {}, "max_workers": 4, "idle_timeout_minutes": 5,
        "available_node_types": {FAKE_HEAD_NODE_TYPE: head, **types}, "head_node_type": FAKE_HEAD_NODE_TYPE,
        "file_mounts": {},
    }
    kinds = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    config |= {f"{kind}_commands": [] for kind in kinds} | {"cluster_synced_files": []}
    with open(os.path.join(place, "scaling.yaml"), "w") as file:
        json.dump(config, file)
    asked |= {"gcs_server_port": int(port), "autoscaling_config": file.name}
    asked |= {"env_vars": {"RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID}}
cluster = Cluster(initialize_head=True, connect=True, head_node_args=asked)
print(cluster.address, flush=True)
input()
import ray._private.state
print(len(ray._private.state.jobs()), flush=True)
ray.shutdown()
import psutil  # Ray brings it
below = psutil.Process().children(recursive=True)
cluster.shutdown()
for process in below:  # of an autoscaler's nodes
    with suppress(psutil.Error):
        process.kill()
"""


class Head:
    """`environment`: what a command needs to join it."""

    def __init__(self, process: subprocess.Popen[str], environment: dict[str, str]) -> None:
        self.process, self.environment = process, environment

    def end(self) -> int:
        """End it; return how many commands have ever joined it."""
        told, _ = self.process.communicate("\n", timeout=60)
        return int(told.split()[-1]) - 1  # itself; before it Ray may have said something


@contextmanager
def serving(types: dict[str, Any] | None = None, **resources: int) -> Iterator[Head]:
    """Serve with, say, num_cpus=2 and num_gpus=1, and a token. `types`: nodes that an autoscaler adds when their
    resources are asked for, as in its file."""
    asked = {"include_dashboard": False, "object_store_memory": 10**8, **resources}
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    scales = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"} if types else {}
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="rh-", dir="/tmp", ignore_cleanup_errors=True) as session:  # a short name
        own, log = (
            environment | scales | {"RAY_TMPDIR": session, "RAY_SCHEDULER_EVENTS": "0"},
            Path(session, "head.log"),
        )
        with open(log, "w") as said:
            process = subprocess.Popen(
                [sys.executable, "-c", CODE, json.dumps(asked), json.dumps(types), session, str(port)],
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
