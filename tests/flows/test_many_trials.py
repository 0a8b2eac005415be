"""Many tiny trials through the command: what each costs the control plane is bounded, in CPU and in memory."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TRIALS = 240
ENOUGH = 80
"""Trials between the first look and the last one before the end, on a machine that lets seconds pass between looks."""
CONTROL = 0.08
"""CPU seconds a trial of the command and of Ray's own processes; 0.02 was measured over 1,000 trials."""
LATER = 1.5
"""Times that a later trial may cost what an earlier one does: of 2,000 each took 15 to 19 ms, first and last."""
GROWTH = 0.25
"""MB that each trial may leave in the command, so that a thousand are bounded; 0.03 was measured over 1,000."""


def test_what_a_trial_costs_the_command_is_bounded():
    path = Path(__file__).parents[2] / "benchmarks" / "overhead" / "trials.py"
    spec = importlib.util.spec_from_file_location("overhead_trials", path)
    assert spec and spec.loader
    trials = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(trials)
    given = argparse.Namespace(search="grid", wandb="off", at_once=2, seconds=250.0, examples=128)
    seen = trials.measure(given, TRIALS, "tune")
    assert seen[-1].records == TRIALS
    first, last = (
        seen[0],
        [each for each in seen if each.records < TRIALS][-1],
    )  # before the report, and what it imports
    count = last.records - first.records
    assert count >= ENOUGH, [each.records for each in seen]

    def control(begin, end):
        spent = sum(end.cpu[kind] - begin.cpu[kind] for kind in ("command", "ray"))
        return spent / (end.records - begin.records)

    growth = (last.memory - first.memory) / count
    middle = min(seen, key=lambda each: abs(each.records - first.records - count / 2))
    each, earlier, later = control(first, last), control(first, middle), control(middle, last)
    print(f"{count} trials: {1000 * each:.0f} ms of CPU and {1000 * growth:.0f} KB each")
    print(f"earlier ones {1000 * earlier:.0f} ms, later ones {1000 * later:.0f} ms")
    assert each < CONTROL and growth < GROWTH
    assert later < LATER * earlier + 0.005  # whatever there is already, one more costs the same
