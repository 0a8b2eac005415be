"""Records as the quick benchmark would store them, made up: test data for the report."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import zlib
from typing import Any

import numpy as np
from rich.console import Console

from harness.record import Record
from harness.report import make, show, to_csv, to_markdown
from harness.report.build import build
from harness.stability import decay, verdict
from harness.trial import Trial

MACHINE = json.dumps(
    {
        "cpu": "Test CPU 9000", "cpu_features": ["avx2"], "usable_cores": 2, "memory_bytes": 8 * 2**30, "gpus": [],
        "python": "3.11.7", "packages": {"torch": "2.13.0", "ray": "2.60.0"},
    }
)  # fmt: skip
DIGITS, ADDING = {"name": "digits", "steps": 64}, {"name": "adding", "length": 50}
GATES = {"elman": 1, "gru": 3, "lstm": 4, "feedforward": 1}
KERNELS = {"elman": "ATen loop", "gru": "ATen loop", "lstm": "oneDNN fused", "feedforward": "batched"}
SPEEDS = {"elman": 61_000, "gru": 24_500, "lstm": 41_000, "feedforward": 240_000}
SCORES = {"elman": 0.62, "gru": 0.93, "lstm": 0.915, "feedforward": 0.28}
RATES = {"elman": 0.86, "gru": 0.985, "lstm": 0.965, "feedforward": 1.0}


LIMITS = {
    "flops_per_token": 1e5, "bytes_per_update": 1e6, "steps_per_update": 128.0, "limit_flops_per_second": 5e10,
    "limit_bytes_per_second": 1e10, "limit_step_seconds": 5e-6, "limits_measured": "2026-11-26T00:00:00+00:00",
    "bound": "latency", "times_floor": 1.7, "mfu": 0.031, "padding_share": 0.25, "peak_memory_bytes": 300 << 20,
    "padded_tokens": 1_000_000, "activation_bytes": 1 << 20,
}  # fmt: skip
"""What a record says of its machine's limits, all equal."""


def grid(seeds: int = 3, cells: tuple[str, ...] = ("elman", "gru", "lstm", "feedforward")) -> list[Trial]:
    """The trials of `benchmarks/quick.yaml`: 54 with three seeds."""
    trials = []
    for cell, window, clip in itertools.product(cells, (16, None), (None, 1.0)):
        trials.append(Trial(task=DIGITS, cell={"name": cell}, bptt_length=window, clip_norm=clip, examples=12_570))
    trials += [Trial(task=ADDING, cell={"name": cell}, clip_norm=1.0, examples=20_000) for cell in cells]
    one_each = {trial.normalised().id: trial.normalised() for trial in trials}
    return [trial.model_copy(update={"seed": seed}) for trial in one_each.values() for seed in range(seeds)]


def record(trial: Trial, **changes: Any) -> Record:
    """A record of a trial that went well, with plausible numbers that depend on the trial alone."""
    rng = np.random.default_rng(zlib.crc32(trial.label.encode()))  # an id changes with every new setting
    cell, task = trial.cell["name"], trial.task["name"]
    digits, window = task == "digits", trial.bptt_length or (64 if task == "digits" else 50)
    score = SCORES.get(cell, 0.5) - 0.08 * (window < 64) + 0.015 * rng.standard_normal()
    mse = {"gru": 0.0004, "lstm": 0.003, "elman": 0.168}.get(cell, 0.1672) * math.exp(0.2 * rng.standard_normal())
    lags = [] if cell == "feedforward" else sorted({0, *range(0, window, 8), window - 1})
    norms = [0.02 * RATES.get(cell, 0.9) ** lag * math.exp(0.05 * rng.standard_normal()) for lag in lags]
    factor, far = decay(lags, norms) if lags else (math.nan, math.nan)
    median = 0.4 * math.exp(0.2 * rng.standard_normal())
    p99 = median * 5
    curve = [score * (1 - 0.6 * 0.6**k) if digits else mse + 0.3 * 0.5**k for k in range(10)]
    found: dict[str, Any] = {
        "metric": "accuracy" if digits else "mse", "higher_is_better": digits, "floor": 0.0972 if digits else 1 / 6,
        "score": score if digits else mse, "valid_score": score if digits else mse, "train_loss": 0.3 * rng.random(),
        "curve_examples": [1257 * (k + 1) for k in range(10)], "curve_valid_score": curve,
        "parameters": 64 * 10 + 10 + GATES.get(cell, 1) * 64 * (2 if cell == "feedforward" else 67),
        "updates": 393, "examples": 12_570, "tokens": 12_570 * 64, "kernel": KERNELS.get(cell, "Python loop"),
        "gradient_norm_median": median, "gradient_norm_p99": p99, "gradient_norm_max": 9 * median,
        "clipped_share": 0.0 if trial.clip_norm is None else 0.07 * rng.random(),
        "update_ratio_median": 1e-3, "gradient_lags": lags, "gradient_by_lag": norms, "gradient_decay": factor,
        "gradient_horizon": far, **_card(trial, lags, factor), "verdict": verdict("ok", lags, norms, median, p99),
        "tokens_per_second": SPEEDS.get(cell, 9_000) * (1 + 0.06 * rng.standard_normal()),
        "train_seconds": 14 * rng.random() + 3, "seconds": 14 * rng.random() + 8,
    }  # fmt: skip
    base = {
        "trial_id": trial.id, "benchmark": "quick", "trial": trial.canonical(), "task": task, "cell": cell,
        "seed": trial.seed, "status": "ok", "data_sha256": "ab" * 32, "fingerprint": "test-2c-01234567",
        "machine": MACHINE, "git_commit": "0123456789ab", "started": "2026-11-23T08:00:00+00:00",
    }  # fmt: skip
    return Record(**{**base, **found, **changes})


def _card(trial: Trial, lags: list[int], factor: float) -> dict[str, Any]:
    """What is measured of each layer, and once on the trained weights; nothing where no gradient runs through time."""
    if not lags:
        return {}
    rates = [factor * (1 - 0.01 * layer) for layer in range(trial.layers)]
    layers = [decay(lags, [rate**lag for lag in lags]) for rate in rates]
    windows = [k for k in (1, 2, 4, 8, 16, 32) if k < (trial.bptt_length or 64)]
    return {
        "gradient_decay_by_layer": [found.factor for found in layers],
        "gradient_horizon_by_layer": [found.horizon for found in layers],
        "lyapunov": [math.log(factor) - 0.1 * k for k in range(4)], "lyapunov_steps": 48,
        "predicted_decay": factor, "loss_spikes": trial.seed, "gradient_norm_after_median": 0.3,
        "truncation_k": windows, "truncation_cosine": [1 - 0.6**k for k in windows],
        "truncation_norm_ratio": [1 - 0.5**k for k in windows],
    }  # fmt: skip


def diverged(trial: Trial, **changes: Any) -> Record:
    """A record of a trial that ended at its 17th update; what it measured until then is kept."""
    lost = {
        "status": "diverged", "reason": "loss is nan", "failed_update": 17, "failed_layer": "layers.0.weight_hh",
        "failed_step": 3, "score": math.nan, "valid_score": math.nan, "verdict": "diverged", "gradient_norm_p99": 5e4,
        "seconds": 1.5, "tokens_per_second": 1.0, "curve_examples": [], "curve_valid_score": [], "updates": 17,
        "lyapunov": [], "predicted_decay": math.nan, "truncation_k": [], "truncation_cosine": [],
        "truncation_norm_ratio": [],
    }  # fmt: skip
    return record(trial, **{**lost, **changes})


def failed(trial: Trial, **changes: Any) -> Record:
    """A record of a trial that raised before it built anything: nothing was measured."""
    whole = record(trial)
    empty = Record(
        trial_id=trial.id, benchmark="quick", trial=trial.canonical(), task=whole.task, cell=whole.cell,
        seed=trial.seed, status="failed", reason="RuntimeError: out of memory", metric=whole.metric, seconds=0.4,
        higher_is_better=whole.higher_is_better, fingerprint=whole.fingerprint, machine=MACHINE,
        git_commit=whole.git_commit, started=whole.started,
    )  # fmt: skip
    return empty.replace(**changes)


def realistic(seeds: int = 3) -> tuple[list[Record], list[Trial]]:
    """All trials of the quick benchmark: an Elman variant lost two seeds, another one seed, a GRU failed once."""
    trials = grid(seeds)
    records = []
    for trial in trials:
        elman = trial.cell["name"] == "elman" and trial.task["name"] == "digits" and trial.bptt_length is None
        if elman and trial.clip_norm is None and trial.seed < 2:
            records.append(diverged(trial))
        elif elman and trial.clip_norm and trial.seed == 0:
            records.append(diverged(trial, reason="loss 812 is over 1,000 times the first loss, 0.7", failed_step=None))
        elif trial.cell["name"] == "gru" and trial.task["name"] == "adding" and trial.seed == 2:
            records.append(failed(trial))
        else:
            records.append(record(trial))
    return records, trials


def rows_of(records: list[Record], expected: list[Trial] | None = None) -> list[dict[str, str]]:
    """The CSV of a report, read back."""
    return list(csv.DictReader(io.StringIO(to_csv.render(build("quick", "Which cell?", records, expected)))))


def told(records: list[Record], expected: list[Trial] | None) -> dict[str, str]:
    """A report as Markdown and in a terminal of 120 columns, without its drawings: they take longest."""
    console = Console(width=120, file=io.StringIO())
    show(console, make("quick", "Which cell?", records, expected))
    markdown = to_markdown.render(build("quick", "Which cell?", records, expected))
    return {"md": markdown, "terminal": console.file.getvalue()}  # type: ignore[attr-defined]
