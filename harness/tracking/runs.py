"""Weights & Biases: one run a trial, a mirror of the record. Written from the record, never read back.

The run appears under results/<benchmark>/wandb/ by one rename when it is complete, so a folder that is there is whole,
and `wandb sync` takes it as it is (upload.py). Training never waits for it and never fails with it.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness import redact
from harness.metrics import METRICS, valid
from harness.record import Record
from harness.tracking import offline_run
from harness.trial import Trial

PROJECT = "rnn-harness"
POINTS = 200
"""Most points of a curve that are logged: of a longer one the largest of every few."""
SHORT = 50
"""Gradient norms are a tenth of the updates, so many at least: W&B takes 0.4 ms of CPU for each point."""
LAYOUT = 3
"""Of what a run holds. Raised when that changes, so that older runs are written anew."""
MARK = "record.sha256"
"""File in a run's folder that names the record it mirrors."""
_FOLDER = re.compile(r"offline-run-\d{8}_\d{6}-(.+)")
COUNTS = ("skipped_updates", "loss_spikes")
"""What a record without any update has not counted."""


def run_id(record: Record) -> str:
    """Return the run's id: the same whenever, and another for another benchmark or machine, which W&B would mix up."""
    place = hashlib.sha256(f"{record.benchmark}\n{record.fingerprint}".encode()).hexdigest()[:8]
    return f"{record.trial_id}-{place}"


def written(folder: Path) -> dict[str, list[Path]]:
    """Return the folders of the complete runs under `folder`, by run id."""
    found: dict[str, list[Path]] = {}
    for path in sorted((folder / "wandb").glob("offline-run-*")):
        if match := _FOLDER.fullmatch(path.name):
            found.setdefault(match[1], []).append(path)
    return found


def missing(records: Iterable[Record], folder: Path) -> list[Record]:
    """Return the records that no run under `folder` mirrors: none was written, or it tells of an earlier attempt."""
    known = written(folder)
    return [record for record in records if not any(_mirrors(run, record) for run in known.get(run_id(record), ()))]


def publish(record: Record, folder: Path) -> None:
    """Write the record as one offline W&B run under `folder`/wandb; nothing happens if it is there already."""
    if not missing([record], folder):
        return
    (folder / "wandb").mkdir(parents=True, exist_ok=True)
    known = written(folder)
    stale = known.get(run_id(record), []) + known.get(record.trial_id, [])  # the latter: its id in the first layout
    # W&B makes some 90 calls on paths for a run: on the node's own disk, and then a few copy it to where nodes share
    draft = Path(tempfile.mkdtemp(prefix=f"harness-wandb-{record.trial_id}-"))
    arrival = folder / "wandb" / f".tmp-{draft.name}"
    try:
        _write(record, draft)
        (run,) = (draft / "wandb").glob(f"offline-run-*-{run_id(record)}")
        offline_run.await_end(run / f"run-{run_id(record)}.wandb")
        for name in ("logs", "tmp"):  # they tell of this machine's folders, and nothing of the trial
            shutil.rmtree(run / name, ignore_errors=True)
        (run / MARK).write_text(_digest(record))
        for old in stale:
            shutil.rmtree(old)
        shutil.copytree(run, arrival)
        os.rename(arrival, folder / "wandb" / run.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(arrival, ignore_errors=True)


def _mirrors(run: Path, record: Record) -> bool:
    try:
        return (run / MARK).read_text() == _digest(record)
    except OSError:
        return False


def _digest(record: Record) -> str:
    return hashlib.sha256(f"{LAYOUT} {sorted(record.plain().items())!r}".encode("utf-8", "replace")).hexdigest()


def _write(record: Record, draft: Path) -> None:
    import wandb

    run = wandb.init(
        project=PROJECT,
        group=redact.text(record.benchmark) or None,
        job_type=record.task,
        name=redact.text(Trial.from_canonical(record.trial).label),
        id=run_id(record),
        tags=tags(record),
        mode="offline",
        dir=draft,
        config=config(record),
        settings=_settings(wandb),
        reinit="finish_previous",
    )
    try:
        for axis in ("updates", "examples", "tokens", "lag"):
            run.define_metric(axis, hidden=True, summary="none")
        run.define_metric("gradient_by_lag", step_metric="lag", summary="none")
        run.define_metric("*", step_metric="examples", summary="none")
        for row in history(record):
            run.log(row)
        run.summary.update(summary(record))
    finally:
        run.finish(exit_code=0 if record.status in ("ok", "stopped") else 1)


def _settings(wandb: Any) -> Any:
    """Return W&B's settings: it observes nothing by itself, neither the terminal nor the machine nor the program."""
    return wandb.Settings(
        silent=True,
        console="off",
        host="-",
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )


def tags(record: Record) -> list[str]:
    """Return what runs are picked by: how the trial ended, its task and its cell."""
    return [record.status, record.task, record.cell]


def config(record: Record) -> dict[str, Any]:
    """Return the resolved trial, and what its numbers are bound to; secrets and folders left out.

    `shown` has the settings that may be null once more, in words: W&B draws no run on an axis where it has a null.
    """
    bound = ("benchmark", "trial_id", "fingerprint", "git_commit", "data_sha256", "weights_sha256", "started")
    settings = record.settings()
    said = {name: _said(name, value) for name, value in settings.items() if not isinstance(value, dict)}
    return redact.setting(settings | {name: getattr(record, name) for name in bound} | {"shown": said})


def _said(name: str, value: Any) -> str:
    return ("whole" if name == "bptt_length" else "none") if value is None else str(value)


def history(record: Record) -> list[dict[str, Any]]:
    """Return the rows of the run: gradient norm by update and the learning curve, by examples seen; then the gradient
    by lag. Long curves are thinned; what is no number is left out."""
    batch, norms = Trial.from_canonical(record.trial).batch_size, record.gradient_norms
    rows: list[dict[str, Any]] = [
        {"updates": i + 1, "examples": min((i + 1) * batch, record.examples), "gradient_norm": norm}
        for i, norm in _thinned(norms, min(POINTS, max(SHORT, len(norms) // 10)))
    ]
    curves: dict[str, Sequence[float]] = {"tokens": record.curve_tokens, valid(record.metric): record.curve_valid_score}
    curves["train_loss"] = record.curve_train_loss
    for i, n in enumerate(record.curve_examples):
        rows.append({"examples": n} | {name: values[i] for name, values in curves.items() if i < len(values)})
    rows.sort(key=lambda row: row["examples"])
    by_lag = _thinned(record.gradient_by_lag, POINTS)
    rows += [{"lag": record.gradient_lags[i], "gradient_by_lag": v} for i, v in by_lag]
    return [{name: value for name, value in row.items() if math.isfinite(value)} for row in rows]


def _thinned(values: Sequence[float], most: int) -> list[tuple[int, float]]:
    """Return (index, value) of finite values: all, or where there are more the largest of every few, so that no spike
    is missed."""
    stride = max(1, math.ceil(len(values) / most))
    finite = [(i, value) for i, value in enumerate(values) if math.isfinite(value)]
    pieces = itertools.groupby(finite, lambda point: point[0] // stride)
    return [max(piece, key=lambda point: point[1]) for _, piece in pieces]


def summary(record: Record) -> dict[str, Any]:
    """Return the run's summary: the record's numbers under the names of METRICS, as the table's row counts them.

    A row's number is their median over seeds. Where the gradient never fell to 1 %, the largest lag measured stands in
    for the horizon, as in the table, and `gradient_horizon_reached` is false.
    """
    plain = record.plain() | dict(zip(record.also_names, record.also_scores, strict=True))
    plain |= {record.metric: record.score} if record.metric else {}
    numbers = {name: plain[name] for name in METRICS if name in plain}
    if not record.updates:
        numbers = {name: value for name, value in numbers.items() if name not in COUNTS}
    if record.gradient_lags and not math.isnan(record.gradient_horizon):
        numbers["gradient_horizon"] = min(record.gradient_horizon, float(max(record.gradient_lags)))
    words: dict[str, Any] = {"status": record.status, "verdict": record.verdict, "kernel": record.kernel}
    if record.gradient_lags:
        words["gradient_horizon_reached"] = record.gradient_horizon <= max(record.gradient_lags)
    words |= {"reason": reason(record)} | place(record)
    numbers["floor"] = record.floor
    return {name: value for name, value in numbers.items() if math.isfinite(value)} | words


def place(record: Record) -> dict[str, str]:
    """Return where a trial stands on a stability map: its cell, BPTT length and clipping, in words."""
    settings, limit = record.settings(), Trial.from_canonical(record.trial).clipping
    bptt, clip = _said("bptt_length", settings["bptt_length"]), f"{limit[0]} {limit[1]:g}" if limit else "none"
    return {"cell": record.cell, "bptt": bptt, "clip": clip}


def reason(record: Record) -> str:
    """Return why a trial is not ok. Of an exception only its kind: its words, in the record, may hold anything."""
    words = record.reason if record.status == "diverged" else re.split(r"[:(\s]", record.reason, maxsplit=1)[0]
    return redact.text(words)
