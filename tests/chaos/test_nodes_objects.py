"""Three nodes that share nothing but an object store on their network: a node that is cut off loses it as well.

As tests/chaos/test_nodes.py, but the store is reached by the link that is cut: what the node runs can neither write a
checkpoint nor keep its claim, so the claim lapses and another node goes on from the last checkpoint.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import s3_server
import test_nodes
from namespaces import Network, Node, until
from test_nodes import BENCHMARK, WAIT, same, switch_on

from harness.record import Record
from harness.store import open_folder

pytestmark = test_nodes.pytestmark
STORE = "s3://bucket/far?endpoint_override=10.77.0.1:5000&scheme=http"
GOES_ON = 90.0
"""Seconds within which a trial runs elsewhere: a node is given up after about 30, a claim lapses after 20 more."""
COPY = """
import sys
from pathlib import Path
from harness.objects import place
source = place(sys.argv[1])
for path in source.rglob("*.parquet"):
    to = Path(sys.argv[2], path.relative_to(source))
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(path.read_bytes())
"""


@pytest.fixture
def network(tmp_path):
    """A head with a store, and two workers."""
    with Network(workers=2) as network:
        network.environment |= s3_server.PLAIN
        server = [sys.executable, s3_server.__file__, network.head.address, "5000", str(tmp_path / "seen")]
        network.run(network.head, *server, log=tmp_path / "server.log")
        switch_on(network)
        until((tmp_path / "seen").exists, 30)
        yield network


def seen(folder: Path) -> dict[str, str]:
    return json.loads((folder / "seen").read_text())


def on(folder: Path, node: Node) -> set[str]:
    """Trials that a node runs."""
    found = {name.rpartition("/")[2].partition(".")[0]: who for name, who in seen(folder).items() if "/.locks/" in name}
    return {trial for trial, who in found.items() if who.endswith(f" on {node.name}")}


def at_checkpoint(folder: Path, node: Node) -> str:
    kept = [name.partition(".checkpoint/")[0].rpartition("/")[2] for name in seen(folder) if "/manifest.json" in name]
    return next((trial for trial in kept if trial in on(folder, node)), "")


def whole(folder: Path) -> dict[str, Record]:
    command = [sys.executable, "-m", "harness", "run", str(folder / "nodes.yaml"), "--on", "inline", "--wandb", "off"]
    subprocess.run([*command, "--results", str(folder / "near")], capture_output=True, check=True)
    return {record.trial_id: record for record in open_folder(folder / "near" / "nodes")}


def test_a_node_that_is_cut_off_from_the_store_too(network, tmp_path, monkeypatch):
    (tmp_path / "nodes.yaml").write_text(BENCHMARK.replace("seeds: 6", "seeds: 4"))
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "harness", "run", str(tmp_path / "nodes.yaml"), "--on", "cluster"]
    command += ["--results", STORE, "--wandb", "off", "--checkpoint-seconds", "0.3"]
    process, node = network.run(network.head, *command, log=tmp_path / "log"), network.workers[0]
    until(lambda: at_checkpoint(tmp_path, node) or process.poll() is not None, WAIT)
    trial, begin = at_checkpoint(tmp_path, node), time.monotonic()
    assert trial, (tmp_path / "log").read_text()
    network.link(node, "down")
    rest = [other for other in network.nodes if other is not node]
    until(lambda: any(trial in on(tmp_path, other) for other in rest) or process.poll() is not None, GOES_ON)
    print(f"link to node and store cut: its trial went on elsewhere after {time.monotonic() - begin:.1f} s", flush=True)
    assert process.wait(WAIT) == 0, (tmp_path / "log").read_text()
    network.output(network.head, sys.executable, "-c", COPY, STORE, str(tmp_path / "fetched"))
    found = {record.trial_id: record for record in open_folder(tmp_path / "fetched" / "nodes")}
    assert same(found, whole(tmp_path)) and found[trial].attempts == 2
    said = [path.read_text(errors="replace") for path in tmp_path.rglob("*.log")]
    assert not [text for text in said for secret in s3_server.KEYS.values() if secret in text]
