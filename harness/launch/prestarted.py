"""Processes that Ray starts as soon as it is up, while the command still imports Tune.

Tune asks for processes with environment variables of its own, which those are not, so that each trial's process began
only then, by way of one more Python. On a Ray of this command's own, whose processes inherit its variables,
they say nothing new.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

SAID = {"PL_DISABLE_FORK": "1"}
"""What Tune would set in each process, for the command to set in its own before Ray starts."""


def switches(on: bool) -> dict[str, str]:
    """Return what tells Ray so, before it starts, and to keep them until Tune asks: a second without use ends one."""
    return {"RAY_prestart_worker_first_driver": str(int(on)), "RAY_idle_worker_killing_time_threshold_ms": "20000"}


@contextmanager
def prestarted() -> Iterator[None]:
    """Inside, Tune takes processes that are there already; another Tune than the pinned one starts its own, later."""
    from ray.tune.execution import class_cache

    if getattr(class_cache, "DEFAULT_ENV_VARS", None) != SAID or not hasattr(class_cache, "ENV_VARS_TO_PROPAGATE"):
        yield
        return
    with mock.patch.multiple(class_cache, DEFAULT_ENV_VARS={}, ENV_VARS_TO_PROPAGATE=set()):
        yield
