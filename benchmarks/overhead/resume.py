"""How long after SIGKILL of the command, and the same command again, a trial has its next checkpoint.

    python benchmarks/overhead/resume.py
    python benchmarks/overhead/resume.py --on inline

Wall time, so on a quiet machine; imports, Ray's start and the second until a checkpoint is due are in it.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BENCHMARK = """
question: How soon does a killed trial go on?
name: resume
seeds: 2
set: {hidden_size: 64, batch_size: 32, examples: 200000, evaluations: 1, cell: lstm}
sweep: {task: {name: adding, length: 50}}
"""
SETTLED = 3.0
"""Seconds after a checkpoint until the command is killed, and then until all its processes have noticed."""


def newest(folder: Path) -> float:
    """When the last checkpoint was written; 0: none."""
    return max((path.stat().st_mtime for path in folder.glob("*/*/*.checkpoint/manifest.json")), default=0.0)


def seconds(command: list[str], results: Path) -> float:
    """Run the command until a trial has a checkpoint, kill it, and return how long that took."""
    begin = time.time()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as process:
        while newest(results) <= begin:
            if process.poll() is not None:
                sys.exit(f"the command ended with {process.returncode} before a checkpoint: {' '.join(command)}")
            time.sleep(0.02)
        took = newest(results) - begin
        time.sleep(SETTLED)
        process.send_signal(signal.SIGKILL)
    time.sleep(SETTLED)
    return took


def main() -> None:
    """Run, kill and run again, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--on", choices=["tune", "inline"], default="tune")
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        file, results = Path(place, "resume.yaml"), Path(place, "results")
        file.write_text(BENCHMARK)
        command = [sys.executable, "-m", "harness", "run", str(file), "--results", str(results), "--on", given.on]
        command += ["--wandb", "off", "--checkpoint-seconds", "1"]
        print(f"at first: {seconds(command, results):.1f} s", flush=True)
        for _ in range(given.times):
            print(f"after a kill: {seconds(command, results):.1f} s", flush=True)


if __name__ == "__main__":
    main()
