"""A trial for which memory does not suffice is a failed record that says what to try, and the next one goes on."""

from __future__ import annotations

import json

import pytest
import torch

from harness.errors import out_of_memory

LIMITED = """
    import json, resource
    from harness.engine import run_trial
    from harness.trial import Trial
    task = {"name": "adding", "length": 200, "train_examples": 2000, "valid_examples": 20, "test_examples": 20}
    same = {"task": task, "examples": 2000, "cell": {"name": "elman"}, "hidden_size": 64}
    small, large = Trial(batch_size=10, **same), Trial(batch_size=2000, **same)
    before = run_trial(small)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (150 << 20), resource.RLIM_INFINITY))
    found = [run_trial(large), run_trial(small)]
    assert found[1].weights_sha256 == before.weights_sha256
    print(json.dumps([[r.status, r.reason, r.updates, bool(r.traceback)] for r in found]))
"""


@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_a_record_with_what_to_try_and_others_go_on(run_python):
    """By a limit of the system: 2,000 rows of 200 steps of 64 units are 100 MB a tensor, and autograd holds several."""
    out, err = run_python(LIMITED).communicate(timeout=120)
    large, small = json.loads(out.splitlines()[-1]) if out else pytest.fail(err)
    assert small[0] == "ok" and large[0] == "failed" and large[3], (large, small)
    assert "memory" in large[1], large
    assert large[1].endswith("try: a smaller batch_size than 2000, or a shorter bptt_length than the whole sequence")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to"),
        MemoryError(),
    ],
)
def test_what_allocators_say_is_understood(error):
    assert out_of_memory(error)


def test_other_errors_are_not_taken_for_it():
    assert not out_of_memory(RuntimeError("shapes (2, 3) and (4, 5) do not match"))
    assert not out_of_memory(ValueError("out of memory"))
