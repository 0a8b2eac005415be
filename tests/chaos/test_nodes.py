"""Three nodes on a network: a sweep over them, and what becomes of it when a node, a link, a raylet or the head goes.

Each node is a network namespace with a process tree of its own (tests/namespaces.py), Ray is started as on a cluster,
and the command runs on the head as in a job. Whatever happens, the finished table equals that of a run which nobody
disturbed, record for record, and no trial has two. How long it took is printed; cluster/README.md states it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from namespaces import Network, Node, until

from harness.record import Record
from harness.storage.store import open_folder

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="network namespaces need root and iproute2"),
]
BENCHMARK = """
question: Does a sweep outlive its nodes?
name: nodes
seeds: 4
set: {hidden_size: 16, layers: 2, dropout: 0.2, batch_size: 32, learning_rate: 0.01, evaluations: 4}
sweep:
  - task: {name: adding, length: 20, train_examples: 500, valid_examples: 100, test_examples: 100}
    cell: lstm
    bptt_length: 8
    clip_norm: 1.0
    examples: 24000
"""
GOES_ON = 60.0
"""Seconds, after a node is lost, within which its trial runs on another one."""
HEAD_LOST = 60.0
"""Seconds, after the head is lost, within which the command ends by itself."""
WAIT = 150.0


class Sweep:
    """The command, on the head of a network."""

    def __init__(self, network: Network, results: Path, file: Path) -> None:
        self.network, self.results, self.file, self.log = network, results, file, results.with_suffix(".log")

    def start(self) -> subprocess.Popen[bytes]:
        words = ["run", str(self.file), "--on", "cluster", "--results", str(self.results), "--wandb", "off"]
        words += ["--checkpoint-seconds", "0.3"]
        return self.network.run(self.network.head, sys.executable, "-m", "harness", *words, log=self.log)

    def on(self, node: Node) -> set[str]:
        """Trials that a node runs."""
        locks = {path.name: holder(path) for path in self.results.glob("nodes/.locks/*")}
        return {trial for trial, who in locks.items() if who.endswith(f" on {node.name}")}

    def at_checkpoint(self, node: Node) -> str:
        """A trial that a node runs and that has a checkpoint, or ""."""
        here = self.on(node)
        return next((trial for trial in self.checkpoints() if trial in here), "")

    def checkpoints(self) -> set[str]:
        """Trials that have one."""
        found = self.results.glob("nodes/*/*.checkpoint/manifest.json")
        return {path.parent.name.partition(".")[0] for path in found}

    def stored(self) -> set[str]:
        return {path.stem for path in self.results.glob("nodes/*/*.parquet")}

    def records(self) -> dict[str, Record]:
        found = open_folder(self.results / "nodes")
        assert len({record.trial_id for record in found}) == len(found), "a trial has two records"
        return {record.trial_id: record for record in found}

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def taken_over(self, trial: str, lost: Node) -> bool:
        """Whether another node runs the trial, or it is done."""
        rest = [node for node in self.network.nodes if node is not lost]
        return trial in self.stored() or any(trial in self.on(node) for node in rest)


def holder(lock: Path) -> str:
    """Who holds a lock; "" where its holder has died."""
    try:
        with open(lock) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read()
    except OSError:
        pass
    return ""


def same(a: dict[str, Record], b: dict[str, Record]) -> bool:
    plain = [{key: record.without_times() for key, record in sorted(each.items())} for each in (a, b)]
    return repr(plain[0]) == repr(plain[1])


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmark") / "nodes.yaml"
    path.write_text(BENCHMARK)
    return path


@pytest.fixture(scope="module")
def whole(file, tmp_path_factory) -> dict[str, Record]:
    """The records of a run in one process, which nobody disturbed."""
    results = tmp_path_factory.mktemp("whole")
    command = [sys.executable, "-m", "harness", "run", str(file), "--on", "inline", "--results", str(results)]
    assert subprocess.run([*command, "--wandb", "off"], capture_output=True, check=False).returncode == 0
    return {record.trial_id: record for record in open_folder(results / "nodes")}


@pytest.fixture(scope="module")
def running():
    """A network of a head and two workers, switched on."""
    with Network(workers=2) as network:
        switch_on(network)
        yield network


def switch_on(network: Network) -> None:
    """Switch on the nodes that are off, and those of which Ray has ended; the head first."""
    for node in network.nodes:
        if node.ray is not None and node.ray.poll() is not None:
            network.kill(node)
        if node.ray is None:
            network.start(node)
    network.up(3)


@pytest.fixture
def sweep(running, file, tmp_path):
    """A sweep to start on it; nodes that the test before lost are switched on again."""
    switch_on(running)
    return Sweep(running, tmp_path / "results", file)


def test_a_sweep_runs_on_every_node(sweep, whole):
    process, seen = sweep.start(), set()
    while process.poll() is None:
        seen |= {node.name for node in sweep.network.nodes if sweep.on(node)}
        time.sleep(0.05)
    assert process.returncode == 0, sweep.said()
    assert seen == {node.name for node in sweep.network.nodes}
    assert same(sweep.records(), whole)


def test_a_folder_that_nodes_do_not_share_is_refused(running, file):
    """Below the head's own folder, in whose place each worker has another."""
    switch_on(running)
    sweep = Sweep(running, running.sessions / "results", file)
    assert sweep.start().wait(WAIT) == 2, sweep.said()
    for node in running.workers:
        why = "the results folder is not shared: it does not see what another node wrote"
        assert f"error: node {node.address}: {why}\n  try: mount it there" in sweep.said()
    assert running.head.address not in sweep.said().partition("error: ")[2] and not sweep.stored()


def disturb(sweep: Sweep, process: subprocess.Popen[bytes], node: Node, how, what: str) -> float:
    """Do something to a node while it trains; return how long its trial was nowhere."""
    until(lambda: sweep.at_checkpoint(node) or process.poll() is not None, WAIT, 0.02)
    trial = sweep.at_checkpoint(node)
    assert trial, sweep.said()
    how()
    took = until(lambda: sweep.taken_over(trial, node), GOES_ON)
    print(f"{what}: its trial went on elsewhere, or was stored, after {took:.1f} s", flush=True)
    return took


def test_a_node_that_is_killed(sweep, whole):
    process, node = sweep.start(), sweep.network.workers[0]
    disturb(sweep, process, node, lambda: sweep.network.kill(node), "node killed")
    assert process.wait(WAIT) == 0, sweep.said()
    found = sweep.records()
    assert same(found, whole)  # how many went on from a checkpoint depends on who had one: the head was gone


def test_a_link_that_is_cut_and_mended(sweep, whole):
    process, node = sweep.start(), sweep.network.workers[1]
    try:
        disturb(sweep, process, node, lambda: sweep.network.link(node, "down"), "link cut")
        took = until(lambda: process.poll() is not None, WAIT)
        print(f"link cut: the sweep was over after {took:.1f} s", flush=True)
    finally:
        sweep.network.link(node, "up")
    assert process.returncode == 0, sweep.said()
    assert same(sweep.records(), whole)
    took = until(lambda: node.ray.poll() is not None, 90)
    print(f"link mended: the node that was cut off ended after {took:.1f} s", flush=True)


def test_a_raylet_that_is_killed(sweep, whole):
    process, node = sweep.start(), sweep.network.workers[0]

    def kill() -> None:
        for pid in node.pids("/raylet/raylet "):
            os.kill(pid, 9)

    disturb(sweep, process, node, kill, "raylet killed")
    assert process.wait(WAIT) == 0, sweep.said()
    assert same(sweep.records(), whole)


def test_a_head_that_is_killed(sweep, whole):
    process, network = sweep.start(), sweep.network
    until(lambda: sweep.at_checkpoint(network.workers[0]) or process.poll() is not None, WAIT, 0.02)
    network.kill(network.head)
    begin = time.monotonic()
    code = process.wait(WAIT)
    took = time.monotonic() - begin
    print(f"head killed: the command ended after {took:.1f} s", flush=True)
    assert code == 75 and took < HEAD_LOST, sweep.said()
    assert "the head at 10.77.0.1:6400 has not answered" in sweep.said()
    assert f"{len(sweep.stored())} of the 4 trials that were left are stored" in sweep.said()
    for node in network.workers:
        network.kill(node)
    left = sweep.checkpoints() - sweep.stored()  # a quick trial ends on its node before anybody misses the head
    switch_on(network)
    process = sweep.start()
    took = until(lambda: any(map(sweep.on, network.nodes)) or process.poll() is not None, WAIT)
    print(f"head back: the first trial ran again {took:.1f} s after the command was typed", flush=True)
    assert process.wait(WAIT) == 0, sweep.said()
    found = sweep.records()
    assert same(found, whole) and {name for name, record in found.items() if record.attempts > 1} == left
    assert not left or "checkpoint" in sweep.said()
