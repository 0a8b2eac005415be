"""A trial's process that is stopped for good, in a run through Tune: it is missed, and its trial goes on elsewhere."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from harness.launch.pulse import SILENCE
from harness.store import open_folder

pytestmark = [pytest.mark.slow, pytest.mark.cluster]
BENCHMARK = """
question: Does a frozen trial go on?
name: long
seeds: 2
set: {hidden_size: 16, batch_size: 32, learning_rate: 0.01, evaluations: 4, clip_norm: 1.0, dropout: 0.2, layers: 2}
sweep:
  - {task: {name: adding, length: 20, train_examples: 500}, cell: lstm, bptt_length: 8, examples: 25600}
"""
IMPATIENT = """
import sys
from harness.launch import pulse
pulse.SILENCE = float(sys.argv[1])
from harness.cli import main
sys.exit(main(sys.argv[2:]))
"""
WAIT = 400.0


def test_a_frozen_trial_is_missed_and_goes_on_in_another_process(run_python, tmp_path):
    """In the stated time, here 15 s instead of the command's own, with the numbers that nobody's freezing changed."""
    (tmp_path / "long.yaml").write_text(BENCHMARK)
    words = ["run", "long.yaml", "--wandb", "off", "--checkpoint-seconds", "0.3", "--results"]
    whole = run_python(IMPATIENT, str(SILENCE), *words, "whole", "--on", "inline", cwd=tmp_path)
    silence = 15.0
    process = run_python(IMPATIENT, str(silence), *words, "frozen", cwd=tmp_path, stderr=sys.stderr)
    folder, until = tmp_path / "frozen" / "long", time.monotonic() + WAIT
    while not (found := list(folder.glob("*/*.checkpoint/manifest.json"))):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    victim = found[0].parent.name.removesuffix(".checkpoint")
    holder = int(Path(folder / ".locks" / victim).read_text().split()[1])
    os.kill(holder, signal.SIGSTOP)
    begin = time.monotonic()
    out, _ = process.communicate(timeout=WAIT)
    print(f"frozen at {begin:.0f}; the command ended {time.monotonic() - begin:.1f} s later, silence {silence:g} s")
    assert process.returncode == 0 and f"process {holder} has not answered for 15 s, and was ended" in out
    assert whole.wait(WAIT) == 0
    records, plain = ({r.trial_id: r for r in open_folder(tmp_path / name / "long")} for name in ("frozen", "whole"))
    assert records[victim].attempts == 2
    assert {k: repr(r.without_times()) for k, r in records.items()} == {
        k: repr(r.without_times()) for k, r in plain.items()
    }
