"""What packing wins, as it was measured on this machine before, or is now (calibrate.py). No torch where it is known: a
command that finds it here starts two seconds earlier."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from contextlib import suppress

from harness import __version__, machine
from harness.data.sources import cache_folder
from harness.pack.plan import shape_of
from harness.storage import files
from harness.trial import Trial

PROGRAM = 2
"""Counts up with each change that makes a pack faster or slower: what was measured of another does not count."""
LEAST, LEAST_IN_ONE_CALL = 30.0, 600.0
"""Seconds of work from which on a measurement is worth its time: about a second, and in a command that has not imported
torch yet, six. Of cells IN_ONE_CALL a pack wins a tenth to a half, of others several times as much."""
IN_ONE_CALL = ("lstm",)
"""Torch's fused functions that no pack has a quicker loop for: it calls them trial by trial (kernels.LOOPS)."""


def gain(trial: Trial, size: int, work: float) -> float:
    """Return how many times as fast `size` trials train packed, from what was measured on this machine before or now.
    What was measured by another machine, version or shape does not count. NaN where nothing is known and the `work`, in
    seconds, is too little to find out."""
    key = json.dumps([machine.fingerprint(), __version__, PROGRAM, shape_of(trial), size])
    path = cache_folder() / "packs" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    with suppress(OSError, ValueError, KeyError):
        return float(json.loads(path.read_bytes())["gain"])
    if work < least(trial):
        return math.nan
    from harness.pack.calibrate import measure, regular

    # streams of documents of unequal lengths make most updates by themselves, packed or not
    packs = regular(trial) or not trial.build_task().stream
    found = statistics.median(measure(trial, size).ratios) if packs else 1.0
    with suppress(OSError):  # it is measured anew the next time
        files.make_folder(path.parent)
        files.replace(path, json.dumps({"gain": found, "of": key}).encode())
    return found


def least(trial: Trial) -> float:
    """Return the seconds of work from which on it is worth its time to measure."""
    in_one_call = trial.build_cell().fused in IN_ONE_CALL and trial.kernel in ("auto", "fused")
    return LEAST_IN_ONE_CALL if in_one_call else LEAST
