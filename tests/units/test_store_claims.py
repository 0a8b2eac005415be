"""Claims: one process at a time has the right to run a trial, until it dies."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from harness.errors import Stopped
from harness.storage.store import Store

ID, OTHER = "0123456789abcdef", "fedcba9876543210"


@pytest.fixture
def store(results):
    return Store(results, "quick", "fp")


HOLD = """
    import sys, time
    from harness.storage.store import Store
    with Store(sys.argv[1], "quick", "fp").claim(sys.argv[2]) as stored:
        print(stored, flush=True)
        time.sleep(600)
"""


def test_a_claim_waits_for_a_live_holder_and_outlasts_no_dead_one(store, run_python):
    holder = run_python(HOLD, str(store.root), ID)
    assert holder.stdout.readline() == "False\n"
    seen = []
    with pytest.raises(Stopped, match=f"process {holder.pid} on ") as caught, store.claim(ID, 0.35, seen.append):
        pytest.fail("two claims of one trial")
    assert caught.value.exit_code == 75 and len(seen) >= 2
    with store.claim(OTHER, timeout=0) as stored:
        assert stored is False
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with store.claim(ID, timeout=0) as stored:
        assert stored is False


def test_a_claim_sees_the_record_that_its_holder_wrote_meanwhile(store, make_record):
    order = []

    def wait():
        with store.claim(ID) as stored:
            order.append(stored)

    with store.claim(ID) as stored:
        order.append(stored)
        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.2)
        store.write(make_record(ID))
    waiter.join(timeout=10)
    assert order == [False, True]


def test_an_interrupt_while_waiting_frees_everything(store):
    def interrupt(_):
        raise KeyboardInterrupt

    with store.claim(ID):
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(KeyboardInterrupt), store.claim(ID, on_wait=interrupt):
            pytest.fail("two claims of one trial")
        assert len(os.listdir("/proc/self/fd")) == before
    with store.claim(ID, timeout=0):
        pass
    assert os.listdir(store.benchmark_folder / ".locks") == []


def test_a_failure_inside_a_claim_passes_through_and_frees_it(store):
    with pytest.raises(OSError, match="my own"), store.claim(ID):
        raise OSError("my own")
    with store.claim(ID, timeout=0):
        pass


RUN_EACH_ONCE = """
    import os, sys
    from harness.record import Record
    from harness.storage.store import Store
    store = Store(sys.argv[1], "quick", "fp")
    for i in range(60):
        with store.claim(f"{i:016x}") as stored:
            if not stored:
                print(i)
                store.write(Record(f"{i:016x}", "quick", "", "", "", i, "ok"))
"""


def test_three_launchers_run_each_trial_once(results, run_python):
    launchers = [run_python(RUN_EACH_ONCE, str(results)) for _ in range(3)]
    ran = [int(line) for launcher in launchers for line in launcher.communicate(timeout=120)[0].split()]
    assert sorted(ran) == list(range(60))
    assert len(Store(results, "quick", "fp").read_all()) == 60
