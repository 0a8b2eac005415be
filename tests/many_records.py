"""A hundred thousand made-up records of a wide grid: the scale that a report must bear.

python tests/many_records.py    # makes them, and measures a report: a minute and a half
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from report_records import ADDING, DIGITS, LIMITS, diverged, record

from harness.record import Record
from harness.storage import rows, sealed, segments
from harness.storage.compact import AT_ONCE
from harness.trial import Trial

ROOT = Path(__file__).parents[1]

CELLS, WINDOWS, CLIPS = ("elman", "gru", "lstm", "mgu"), (4, 8, 16, 32, None), (None, 0.1, 0.5, 1.0, 5.0)
RATES, SIZES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2), (8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
UPDATES = 393
VARIED = (
    "score", "valid_score", "train_loss", "tokens_per_second", "train_seconds", "seconds", "gradient_norm_median",
    "gradient_norm_p99", "gradient_norm_max", "gradient_norm_after_median", "clipped_share", "gradient_decay",
    "predicted_decay", "update_ratio_median",
)  # fmt: skip
"""Numbers that differ from record to record, as real ones do: equal ones would pack too well."""


def trials(seeds: int, sizes: tuple[int, ...] = SIZES) -> Iterator[Trial]:
    """Every trial of the grid, 1,000 variants for each hidden size: the seeds of a variant one after the other."""
    for task, cell, size in itertools.product((DIGITS, ADDING), CELLS, sizes):
        for rate, window, clip in itertools.product(RATES, WINDOWS, CLIPS):
            settings = {"hidden_size": size, "learning_rate": rate, "bptt_length": window, "clip_norm": clip}
            trial = Trial(task=task, cell={"name": cell}, examples=12_570, **settings).normalised()
            yield from (trial.model_copy(update={"seed": seed}) for seed in range(seeds))


def records(seeds: int, sizes: tuple[int, ...] = SIZES) -> Iterator[Record]:
    """A record of each, with the raw series that a real one has, and what it knows of the machine's limits; every 20th
    diverged."""
    for number, trial in enumerate(trials(seeds, sizes)):
        rng = np.random.default_rng(number)
        raw = {"update_seconds": rng.random(UPDATES).tolist(), "gradient_norms": rng.random(UPDATES).tolist()}
        made = diverged(trial, **raw) if number % 20 == 7 else record(trial, **raw, **LIMITS)
        factors = 1 + 0.02 * rng.standard_normal(len(VARIED))
        yield made.replace(**{name: getattr(made, name) * f for name, f in zip(VARIED, factors.tolist(), strict=True)})


def stored(folder: Path, seeds: int, sizes: tuple[int, ...]) -> int:
    """Store made-up records as `compact` would, in segments; return how many."""
    batch, count = [], 0
    for made in records(seeds, sizes):
        batch.append(made)
        if len(batch) == AT_ONCE:
            segments.publish(folder, f"{count:016x}", sealed.pack(rows.table_of(batch)))
            count, batch = count + len(batch), []
    assert not batch
    return count


def benchmark(sizes: tuple[int, ...] = SIZES) -> str:
    """The text of the benchmark whose trials those of `records(10, sizes)` are."""
    axes = {"cell": CELLS, "hidden_size": sizes, "learning_rate": RATES, "bptt_length": WINDOWS, "clip_norm": CLIPS}
    tasks = [{"name": "digits", "steps": 64}, {"name": "adding", "length": 50}]
    sweep = {"task": tasks} | {name: list(values) for name, values in axes.items()}
    return json.dumps({"question": "Which of very many?", "seeds": 10, "set": {"examples": 12570}, "sweep": sweep})


MEASURE = """
import re, resource, sys, time
from harness.cli.main import main
started, code = time.perf_counter(), main(["report", *sys.argv[1:]])
usage = resource.getrusage(resource.RUSAGE_SELF)  # its ru_maxrss is that of the process that started this one
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
print("MEASURED", code, time.perf_counter() - started, usage.ru_utime + usage.ru_stime, peak)
"""


def measured(*words: str | Path) -> tuple[int, float, float, int]:
    """Exit code, wall and processor seconds and peak bytes of `harness report WORDS`, in a process of its own."""
    command = [sys.executable, "-c", MEASURE, *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    line = done.stdout.splitlines()[-1].split()
    assert line[0] == "MEASURED", done.stderr
    return int(line[1]), float(line[2]), float(line[3]), int(line[4])


def main() -> None:
    """Measure a report over all of them: of the folder, and of the benchmark that asks for them."""
    with tempfile.TemporaryDirectory() as place:
        folder, file = Path(place, "many"), Path(place, "many.yaml")
        print(f"{stored(folder / 'test-2c-01234567', 10, SIZES):,} records", flush=True)
        file.write_text(benchmark())
        for what, words in (("folder", (folder,)), ("benchmark", (file, "--results", place))):
            code, wall, cpu, peak = measured(*words)
            print(f"{what}: {cpu:.1f} s of CPU, {wall:.1f} s, {peak / 1e9:.2f} GB, exit code {code}", flush=True)


if __name__ == "__main__":
    main()
