"""Workers that a place has room for, and the interface by which they talk."""

from __future__ import annotations

import pytest

from harness.errors import UserError
from harness.launch.train import check_room
from harness.trial import Trial


def asked(workers: int, threads: int = 1) -> Trial:
    return Trial(task={"name": "digits"}, cell={"name": "gru"}, examples=100, workers=workers, threads=threads)


def test_a_node_holds_whole_workers_only():
    check_room(asked(3), [1.0, 2.0])
    check_room(asked(2, threads=2), [2.0, 3.0])
    with pytest.raises(UserError) as error:
        check_room(asked(3, threads=2), [3.0, 3.0])
    said = str(error.value)
    assert "workers: 3 of 2 threads each, and the nodes of the cluster have 3 and 3 CPUs" in said
    assert "allowed: 1 to 2" in said and "try: workers: 2" in said


def test_more_threads_than_a_node_has_are_said():
    with pytest.raises(UserError) as error:
        check_room(asked(2, threads=8), [4.0])
    assert "this machine has 4 CPUs\n  allowed: at most 4 threads\n  try: threads: 1" in str(error.value)


def test_the_interface_is_the_one_with_the_address():
    from harness.launch import network

    assert network.interface("127.0.0.1") == "lo" and network.interface("192.0.2.1") == ""
