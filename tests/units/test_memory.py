"""Freed memory is used again, so that the kernel need not clear it for each update."""

from __future__ import annotations

import json
import platform

import pytest

CODE = """
    import json, resource, torch

    from harness.models.memory import keep_freed

    def faults():
        start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.ones(12 << 20)  # 48 MiB
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start

    before = faults()
    kept = keep_freed() and keep_freed()
    faults()
    print(json.dumps([before, kept, faults()]))
"""


def test_a_block_that_was_freed_is_not_cleared_again(run_python):
    out, err = run_python(CODE).communicate(timeout=120)
    before, kept, after = json.loads(out or "null") or pytest.fail(err)
    assert kept == (platform.libc_ver()[0] == "glibc"), "only glibc is told"
    assert not kept or after < before / 10, (before, after)
