"""Weights & Biases: one run a trial, a mirror of the record. Written from the record, never read back.

The run appears under results/<benchmark>/wandb/ by one rename when it is complete, so a folder that is there is whole,
and `wandb sync` takes it as it is. Training never waits for it and never fails with it.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from harness.metrics import METRICS
from harness.record import Record
from harness.trial import Trial

POINTS = 200
"""Most points of a per-update curve that are logged; a longer one is thinned evenly."""


def published(folder: Path, trial_id: str) -> bool:
    """Tell whether the trial's run is complete under `folder`."""
    return any((folder / "wandb").glob(f"offline-run-*-{trial_id}"))


def publish(record: Record, folder: Path) -> None:
    """Write the record as one offline W&B run under `folder`/wandb; nothing happens if it is there already."""
    if published(folder, record.trial_id):
        return
    (folder / "wandb").mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".tmp-{record.trial_id}-", dir=folder / "wandb"))
    try:
        _write(record, draft)
        (run,) = (draft / "wandb").glob(f"offline-run-*-{record.trial_id}")
        os.rename(run, folder / "wandb" / run.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write(record: Record, draft: Path) -> None:
    import wandb

    trial = Trial.from_canonical(record.trial)
    settings = wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        x_disable_stats=True,
        x_disable_meta=True,
        save_code=False,
    )
    run = wandb.init(
        project="rnn-harness",
        group=record.benchmark or None,
        job_type=record.task,
        name=trial.label,
        id=record.trial_id,
        tags=[record.status, record.task, record.cell],
        mode="offline",
        dir=draft,
        config=record.settings() | {"fingerprint": record.fingerprint, "git_commit": record.git_commit},
        settings=settings,
        reinit="finish_previous",
    )
    try:
        for axis in ("updates", "examples"):
            run.define_metric(axis, hidden=True)
        run.define_metric("*", step_metric="examples")
        for row in history(record):
            run.log(row)
        run.summary.update(summary(record))
    finally:
        run.finish(exit_code=0 if record.status == "ok" else 1)


def history(record: Record) -> list[dict[str, Any]]:
    """Return the rows of the run: gradient norm by update (thinned) and the learning curve, by examples seen."""
    batch = Trial.from_canonical(record.trial).batch_size
    stride = max(1, math.ceil(len(record.gradient_norms) / POINTS))
    rows = [
        {"updates": i + 1, "examples": min((i + 1) * batch, record.examples), "gradient_norm": norm}
        for i, norm in enumerate(record.gradient_norms)
        if i % stride == 0 and math.isfinite(norm)
    ]
    curve = zip(record.curve_examples, record.curve_valid_score, record.curve_train_loss, strict=True)
    rows += [{"examples": n, f"valid_{record.metric}": score, "train_loss": loss} for n, score, loss in curve]
    return sorted(rows, key=lambda row: row["examples"])


def summary(record: Record) -> dict[str, Any]:
    """Return the run's summary: the record's numbers under the names of METRICS, and how it ended."""
    plain = record.plain()
    numbers = {name: plain[name] for name in METRICS if name in plain and math.isfinite(plain[name])}
    ended = {"status": record.status, "reason": record.reason, "verdict": record.verdict, "kernel": record.kernel}
    return numbers | ended | ({record.metric: record.score} if math.isfinite(record.score) else {})
