"""Workers that a place has room for, and the interface by which they talk."""

from __future__ import annotations

import pytest

from harness.errors import UserError
from harness.launch import gpus
from harness.launch.train import Node, check_room
from harness.trial import Trial


def asked(workers: int, threads: int = 1) -> Trial:
    return Trial(task={"name": "digits"}, cell={"name": "gru"}, examples=100, workers=workers, threads=threads)


def test_a_node_holds_whole_workers_only():
    check_room(asked(3), [Node(1.0), Node(2.0)])
    check_room(asked(2, threads=2), [Node(2.0), Node(3.0)])
    with pytest.raises(UserError) as error:
        check_room(asked(3, threads=2), [Node(3.0), Node(3.0)])
    said = str(error.value)
    assert "workers: 3 of 2 threads each, and the nodes of the cluster have 3 and 3 CPUs" in said
    assert "allowed: 1 to 2" in said and "try: workers: 2" in said


def test_more_threads_than_a_node_has_are_said():
    with pytest.raises(UserError) as error:
        check_room(asked(2, threads=8), [Node(4.0)])
    assert "this machine has 4 CPUs\n  allowed: at most 4 threads\n  try: threads: 1" in str(error.value)


def test_each_of_several_workers_on_gpus_has_a_whole_one():
    check_room(asked(2), [Node(4.0, 1.0), Node(4.0, 1.0)])
    with pytest.raises(UserError) as error:
        check_room(asked(3), [Node(4.0, 1.0), Node(1.0, 4.0)])
    said = str(error.value)
    assert (
        "workers: 3 of 1 threads and a GPU each, and the nodes of the cluster have 4 and 1 CPUs, 1 and 4 GPUs" in said
    )
    assert "allowed: 1 to 2" in said and gpus.each(0.25, 3) == 1.0 and gpus.each(0.25, 1) == 0.25


def test_the_interface_is_the_one_with_the_address():
    from harness.launch import network

    assert network.interface("127.0.0.1") == "lo" and network.interface("192.0.2.1") == ""
