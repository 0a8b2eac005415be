"""A trial of three workers over three nodes, by gloo on their network; one node goes while it trains, and returns."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import test_nodes
from namespaces import Network, until
from test_nodes import BENCHMARK, WAIT, Sweep, same, switch_on
from together import without_ray

from harness import spec

pytestmark = test_nodes.pytestmark
GOES_ON = 90.0
"""Seconds, after the node is back, within which all three train again."""


def start(sweep: Sweep):
    command = [sys.executable, "-m", "harness", "run", str(sweep.file), "--on", "cluster", "--wandb", "off"]
    command += ["--results", str(sweep.results), "--checkpoint-seconds", "0.3"]
    return sweep.network.run(sweep.network.head, *command, log=sweep.log)


def manifest(sweep: Sweep) -> Path | None:
    return next(sweep.results.glob("nodes/*/*.checkpoint/manifest.json"), None)


def newer(sweep: Sweep, than: int) -> bool:
    found = manifest(sweep)
    return found is not None and found.stat().st_mtime_ns > than


def test_three_workers_on_three_nodes_of_which_one_goes_and_comes_back(tmp_path):
    file = tmp_path / "nodes.yaml"
    file.write_text(BENCHMARK.replace("seeds: 4", "seeds: 1").replace("batch_size: 32", "batch_size: 48, workers: 3"))
    (trial,) = spec.load(str(file)).trials
    whole = {trial.id: without_ray(trial, tmp_path)}
    with Network(workers=2) as network:
        switch_on(network)
        sweep = Sweep(network, tmp_path / "killed", file)
        process, node = start(sweep), network.workers[0]
        until(lambda: manifest(sweep) or process.poll() is not None, WAIT, 0.02)
        assert process.poll() is None, sweep.said()
        network.kill(node)
        time.sleep(3)
        network.start(node)
        begin, back = time.monotonic(), time.time_ns()
        until(lambda: newer(sweep, back) or sweep.stored() or process.poll() is not None, GOES_ON)
        print(f"node back: all three trained again after {time.monotonic() - begin:.1f} s", flush=True)
        assert process.wait(WAIT) == 0, sweep.said()
        found = sweep.records()
        assert [record.status for record in found.values()] == ["ok"], [record.reason for record in found.values()]
        assert same(found, whole) and max(record.attempts for record in found.values()) == 2
