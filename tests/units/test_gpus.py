"""Shares of GPUs, as far as a machine without one can tell: what may be asked, what fits, and what a record says."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness import machine
from harness.engine import blank
from harness.errors import UserError
from harness.jobs import cluster
from harness.jobs.submit import fits
from harness.launch import attached, gpus, scale_up
from harness.launch.target import Target
from harness.plan import build
from harness.training.controlled import controlled
from harness.trial import Trial

TRIAL = Trial(task={"name": "adding", "length": 8}, cell={"name": "gru"}, examples=100)
NODE = {"node": "10.0.0.1", "cpus": 4.0, "gpus": 1.0, "shared": "", "blind": "", "versions": attached.versions()}


@pytest.mark.parametrize("share", [-0.5, 1.5, 2, 0.33333, 1e-6, float("nan"), float("inf")])
def test_a_share_that_ray_cannot_give_is_refused(share):
    with pytest.raises(UserError, match=r"a worker trains on one GPU, or on a share of one\n  allowed: 0.0001 to 1"):
        gpus.asked(share)


@pytest.mark.parametrize(("share", "cards", "fit"), [(1, [2], 2), (0.5, [1], 2), (0.4, [1, 2], 6), (0.3333, [1], 3)])
def test_a_share_is_of_one_gpu(share, cards, fit):
    assert gpus.asked(share) == share and gpus.at_once(share, cards) == fit


@pytest.mark.parametrize(
    ("shown", "count"), [(None, 2), ("", 0), ("-1", 0), ("0,1", 2), ("1", 1), ("GPU-3f, -1, 0", 1)]
)
def test_ray_gives_out_what_the_environment_shows(monkeypatch, shown, count):
    monkeypatch.setattr(machine, "gpu_names", lambda: ["NVIDIA H100 80GB HBM3"] * 2)
    monkeypatch.delenv(gpus.HIDES, raising=False)
    if shown is not None:
        monkeypatch.setenv(gpus.HIDES, shown)
    assert gpus.here() == count
    if not count:
        with pytest.raises(UserError, match="and CUDA_VISIBLE_DEVICES hides every GPU"):
            gpus.check_here(0.5)


def test_a_pack_takes_the_share_of_a_trial_and_how_large_it_is_must_be_said():
    assert gpus.asked(0.5, pack=16) == 0.5
    with pytest.raises(UserError, match=r"--pack auto with --gpus-per-trial(.|\n)*try: --pack 16"):
        gpus.asked(0.5, pack=None)


def test_a_gpu_and_a_cpu_are_two_machines(tmp_path):
    """Of one host: what a GPU trained lies under a fingerprint of its own, and no other has changed its name."""
    known = machine.facts() | {"gpus": ["NVIDIA H100 80GB HBM3"]}
    cpu, cuda = machine.fingerprint_of(known), machine.fingerprint_of(known, "cuda")
    assert cpu != cuda and cuda.rpartition("-")[0] == cpu.rpartition("-")[0] + "-on-cuda"
    assert machine.fingerprint_of(machine.facts()) == machine.fingerprint()
    there = Target(str(tmp_path), "b", machine.fingerprint(), False, nodes=True, gpus=0.5)
    assert there.store().folder.name == machine.fingerprint("cuda") != machine.fingerprint()
    assert blank(TRIAL, "").device == "cpu" and blank(TRIAL, "").fingerprint == machine.fingerprint()


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch sees a GPU here")
def test_a_promise_that_torch_does_not_see_is_no_reason_to_train_on_a_cpu():
    assert gpus.device(0.0) == "cpu" and gpus.blind() == f"torch {torch.__version__} sees none"
    with pytest.raises(UserError, match=r"Ray promises a GPU, and torch .* sees none"):
        gpus.device(0.5)


def test_float32_is_float32_in_every_cell():
    """torch's default rounds the products of cuDNN's LSTM and GRU to 10 bits, and those of a plain loop not."""
    cudnn: Any = torch.backends.cudnn.rnn
    before = cudnn.fp32_precision
    with controlled(TRIAL):
        assert cudnn.fp32_precision == "ieee"
    assert cudnn.fp32_precision == before


def test_a_cluster_is_refused_that_has_no_gpu_or_whose_torch_sees_none():
    attached.check([NODE, NODE | {"gpus": 0.0, "shared": "not mounted"}], threads=1, gpus=0.5)  # where nothing can run
    with pytest.raises(
        UserError, match=r"--gpus-per-trial 0.5, and no node of the cluster has a GPU\n  try: leave out"
    ):
        attached.check([NODE | {"gpus": 0.0}], threads=1, gpus=0.5)
    with pytest.raises(UserError, match=r"node 10.0.0.1: Ray promises 1 GPUs, and torch 2 sees none"):
        attached.check([NODE | {"blind": "torch 2 sees none"}], threads=1, gpus=0.5)


def test_a_cluster_file_may_set_the_share(tmp_path):
    path = tmp_path / "c.yaml"
    text = "dashboard: http://127.0.0.1:8265\nresults: /shared\ngpus_per_trial: 0.25\n"
    text += "node: {cpus: 16, gpus: 2, count: 3}\n"
    path.write_text(text)
    found = cluster.read(path)
    assert found.gpus_per_trial == 0.25
    assert build.place_of(found, "c", threads=1).farm.slots == 8
    path.write_text(text.replace("0.25", "2.0"))
    with pytest.raises(UserError, match="or on a share of one; allowed: 0"):
        cluster.read(path)


def test_a_job_is_not_submitted_to_a_cluster_without_gpus(tmp_path):
    from types import SimpleNamespace

    def planned(**more):
        found = cluster.Cluster(dashboard="http://127.0.0.1:8265", results="/shared", **more)
        return SimpleNamespace(gpus=0.5, threads=1, note=SimpleNamespace(on="c.yaml"), cluster=found)

    fits([{"CPU": 2.0, "GPU": 1.0}], planned())
    fits([{"CPU": 2.0}], planned(node=cluster.Node(cpus=4, gpus=1)))
    fits([{"CPU": 2.0}], planned(gpu_wait=60.0))
    for none in ({"node": cluster.Node(cpus=4)}, {"node": cluster.Node(cpus=4, gpus=1), "gpu_wait": 0.0}):
        with pytest.raises(
            UserError, match=r"and no node of the cluster has a GPU(.|\n)*`gpu_wait: 900` where an auto"
        ):
            fits([{"CPU": 2.0}], planned(**none))


def test_a_job_waits_for_gpus_where_the_clusters_file_says_that_they_come():
    def patience(**more):
        return cluster.Cluster(dashboard="http://127.0.0.1:8265", results="/shared", **more).patience

    assert patience() == patience(node=cluster.Node(cpus=4)) == 0
    assert patience(node=cluster.Node(cpus=4, gpus=1)) == scale_up.DEFAULT_WAIT == 900
    assert patience(gpu_wait=30.0) == patience(node=cluster.Node(cpus=4, gpus=1), gpu_wait=30.0) == 30


def test_there_is_room_for_as_many_workers_as_have_both_cpus_and_a_gpu():
    nodes = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0}, {"CPU": 1.0, "GPU": 4.0}]
    assert scale_up.room(nodes, threads=1, share=1.0) == 3 and scale_up.room(nodes, threads=2, share=1.0) == 2
    assert scale_up.room(nodes[:1], threads=1, share=0.5) == 4 and scale_up.room(nodes[1:2], 1, 0.5) == 0
