"""Laws of the W&B mirror, read back from what W&B wrote: it says what the record says, once, and no secret."""

from __future__ import annotations

import json
import math
import os
import re
from collections import defaultdict
from pathlib import Path

import pytest
from report_records import grid, record
from typer.testing import CliRunner
from wandb_file import read

from harness import redact
from harness.cli import main as cli
from harness.launch.base import mirror
from harness.metrics import CURVES, METRICS, valid
from harness.record import Record
from harness.report.build import build
from harness.stats import median
from harness.storage.store import Store
from harness.tracking import offline_run, runs, upload


def whole(trial_index: int = 0, **changes: object) -> Record:
    """A record with every curve that W&B shows."""
    made = record(grid()[trial_index])
    curves: dict[str, object] = {
        "curve_tokens": [64 * n for n in made.curve_examples],
        "curve_train_loss": [2.0 / (i + 1) for i in range(len(made.curve_examples))],
        "gradient_norms": [1.0 / (i + 1) for i in range(made.updates)],
    }
    return made.replace(**curves | changes)


def run_of(made: Record, folder: Path) -> dict:
    (run,) = runs.written(folder)[runs.run_id(made)]
    return read(next(run.glob("*.wandb")))


def test_history_and_summary_are_the_records_and_named_by_one_vocabulary(tmp_path: Path) -> None:
    made = whole(also_names=["cross_entropy"], also_scores=[0.25])
    runs.publish(made, tmp_path)
    run = run_of(made, tmp_path)
    columns: dict[str, list[float]] = defaultdict(list)
    for row in run["history"]:
        for name in row.keys() - {"_step", "_timestamp", "_runtime"}:
            assert name in METRICS or name in CURVES or name.removeprefix("valid_") in METRICS, name
            columns[name].append(row[name])
    assert [row["_step"] for row in run["history"]] == list(range(len(run["history"])))
    assert columns[valid("accuracy")] == made.curve_valid_score
    assert columns["train_loss"] == made.curve_train_loss and columns["tokens"] == made.curve_tokens
    assert columns["lag"] == made.gradient_lags and columns["gradient_by_lag"] == made.gradient_by_lag
    stride = math.ceil(made.updates / runs.SHORT)
    assert columns["gradient_norm"] == made.gradient_norms[::stride]
    assert columns["updates"] == [i + 1 for i in range(0, made.updates, stride)]
    plain = made.plain() | {"accuracy": made.score, "cross_entropy": 0.25}
    for name in METRICS.keys() & plain.keys() - {"gradient_horizon"}:
        assert run["summary"].get(name, math.nan) == pytest.approx(plain[name], rel=1e-12, nan_ok=True), name
    assert run["summary"]["floor"] == made.floor and run["summary"]["verdict"] == made.verdict
    assert run["exit"] == 0 and run["tags"] == [made.status, made.task, made.cell] and run["group"] == made.benchmark
    settings = {k: v for k, v in run["config"].items() if k in made.settings()}
    assert settings == made.settings()
    assert run["config"]["fingerprint"] == made.fingerprint and run["config"]["trial_id"] == made.trial_id


@pytest.mark.parametrize("updates, points", [(7, 7), (50, 50), (480, 48), (1000, 100), (2000, 200), (20_000, 200)])
def test_gradient_norms_are_a_tenth_of_the_updates_and_no_spike_is_missed(updates: int, points: int) -> None:
    norms = [1.0 + i % 3 for i in range(updates)]
    norms[2 * updates // 3], norms[updates // 5] = 50.0, math.nan
    made = whole().replace(gradient_norms=norms)
    shown = {row["updates"]: row["gradient_norm"] for row in runs.history(made) if "gradient_norm" in row}
    assert points - 1 <= len(shown) <= points and shown[2 * updates // 3 + 1] == 50.0
    assert all(norms[update - 1] == norm for update, norm in shown.items())


def test_a_row_of_the_table_is_the_median_of_its_runs_summaries() -> None:
    records = [record(trial) for trial in grid()]
    rows = [row for table in build("quick", "", records, None).machines for group in table.groups for row in group.rows]
    assert len(rows) > 10
    for row in rows:
        told = [runs.summary(made) for made in row.records]
        for name in ("tokens_per_second", "gradient_norm_p99", "gradient_decay", "clipped_share", "seconds"):
            found = [one[name] for one in told if name in one]
            expected = row.over_seeds(name).center
            assert (median(found) if found else math.nan) == pytest.approx(expected, nan_ok=True), name
        assert median(one[row.metric.name] for one in told) == pytest.approx(row.score.center)
        if not math.isnan(row.horizon.steps):
            assert median(one["gradient_horizon"] for one in told) == pytest.approx(row.horizon.steps)


def test_lost_trials_say_how_they_ended_and_have_no_score(tmp_path: Path) -> None:
    words = "RuntimeError: cannot read /srv/somebody/private/x.csv"
    failed = whole(0, status="failed", reason=words, score=math.nan)
    diverged = whole(1, status="diverged", reason="loss nan at update 3", score=math.nan)
    for made, reason in ((failed, "RuntimeError"), (diverged, "loss nan at update 3")):
        runs.publish(made, tmp_path)
        run = run_of(made, tmp_path)
        assert run["exit"] == 1 and run["tags"][0] == made.status and "accuracy" not in run["summary"]
        assert run["summary"]["reason"] == reason


def test_a_run_is_copied_when_all_of_it_is_there(tmp_path: Path) -> None:
    """W&B's process writes on after `finish`: of no part of a run is it said that it has ended."""
    made = whole()
    runs.publish(made, tmp_path)
    (run,) = runs.written(tmp_path)[runs.run_id(made)]
    data = next(run.glob("*.wandb")).read_bytes()
    assert offline_run.ended(data)
    assert not any(offline_run.ended(data[:n]) for n in [*range(0, len(data), 997), *range(len(data) - 99, len(data))])
    cut = tmp_path / "cut.wandb"
    cut.write_bytes(data[:-1])
    with pytest.raises(TimeoutError, match=r"the end of cut\.wandb"):
        offline_run.await_end(cut, patience=0.05)


def test_a_record_of_an_older_schema_without_curves_has_its_run_too() -> None:
    bare = whole(curve_tokens=[], curve_train_loss=[], gradient_norms=[])
    rows = runs.history(bare)
    assert [row[valid("accuracy")] for row in rows if "examples" in row] == bare.curve_valid_score


def test_a_run_is_written_once_and_anew_only_for_another_record(tmp_path: Path) -> None:
    made = whole()
    runs.publish(made, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "wandb").rglob("*")}
    runs.publish(made, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "wandb").rglob("*")} == before
    again = made.replace(seconds=made.seconds + 1)  # its record was lost, and the trial repeated
    assert runs.missing([made, again], tmp_path) == [again]
    runs.publish(again, tmp_path)
    run = run_of(again, tmp_path)  # one folder still, under the same id
    assert run["summary"]["seconds"] == again.seconds
    assert [row["_step"] for row in run["history"]] == list(range(len(run["history"])))


def test_a_run_of_the_first_layout_gives_way(tmp_path: Path) -> None:
    made = whole()
    old = tmp_path / "wandb" / f"offline-run-20260101_000000-{made.trial_id}"
    old.mkdir(parents=True)
    assert upload.pending(tmp_path) == []  # it would be a second run of the same trial
    runs.publish(made, tmp_path)
    assert list(runs.written(tmp_path)) == [runs.run_id(made)] and len(upload.pending(tmp_path)) == 1


def test_one_trial_in_two_benchmarks_or_on_two_machines_is_two_runs() -> None:
    made = whole()
    ids = {runs.run_id(made.replace(**change)) for change in ({}, {"benchmark": "b"}, {"fingerprint": "f"})}
    assert len(ids) == 3 and all(one.startswith(made.trial_id) for one in ids)
    assert runs.run_id(made.replace(seconds=1.0, started="later")) == runs.run_id(made)


def test_sync_rebuilds_from_the_records_and_a_second_time_does_nothing(tmp_path: Path) -> None:
    made = [whole(0), whole(1)]
    store = Store(tmp_path, "quick", made[0].fingerprint)
    for one in made:
        store.write(one)
    for expected in (2, 0):
        done = CliRunner().invoke(cli.app, ["wandb", "sync", str(tmp_path / "quick"), "--offline"])
        assert done.exit_code == 0 and f"2 records, {expected} runs rebuilt" in done.output, done.output
    assert sorted(runs.written(tmp_path / "quick")) == sorted(map(runs.run_id, made))


def test_sync_without_records_says_what_to_type(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["wandb", "sync", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "no records" in told and str(tmp_path) in told and "harness run" in told


def test_what_goes_wrong_with_the_mirror_is_said_once_and_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "wandb").write_text("a file where a folder should be")
    said: list[str] = []
    mirror([whole(0), whole(1)], tmp_path, said.append)
    assert len(said) == 1 and said[0].startswith("warning: no W&B run for 2 of 2 trials")


CANARY = "zq7canary" + "4d1e8b"


def test_no_secret_reaches_a_file_of_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_TOKEN", CANARY + "token")
    monkeypatch.setenv("INNOCENT", CANARY + "environment")
    folder = tmp_path / (CANARY + "folder")
    folder.mkdir()
    monkeypatch.chdir(folder)
    task = {"name": "autocomplete", "data": f"/srv/{CANARY}/corpus-{CANARY}token.txt"}
    made = whole(traceback=f"File {CANARY}", samples=json.dumps([CANARY]), machine=json.dumps({"os": CANARY}))
    made = made.replace(trial=json.dumps(made.settings() | {"task": task}), benchmark=f"of-{CANARY}token")
    made = made.replace(status="failed", reason=f"OSError: {CANARY}")
    runs.publish(made, folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    for path in files:
        assert CANARY.encode() not in path.read_bytes() and CANARY not in path.name, path
        host = re.escape(os.uname().nodename.encode())  # a short one may be part of a random word of W&B's
        assert not re.search(rb"(?<![0-9A-Za-z])" + host + rb"(?![0-9A-Za-z])", path.read_bytes()), path
    assert run_of(made, folder)["config"]["task"]["data"] == f"…/corpus-{redact.HIDDEN}.txt"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("/srv/ann/x.csv", "…/x.csv"), ("C:\\ann\\x.csv", "…/x.csv"), ("x.csv", "x.csv"), ("../d/", "…/d"),
        ("https://me:pw@host/d/x.csv?sig=1", "…/x.csv"), ("hf_abcdefghijklmnop", "***"), ("a" * 40, "***"), (7, 7),
        ({"a": ["/x/y"], "b": None}, {"a": ["…/y"], "b": None}), ("b4d1e8b0c3a2", "b4d1e8b0c3a2"),
    ],
)  # fmt: skip
def test_of_a_path_its_last_name_and_of_a_key_nothing(given: object, shown: object) -> None:
    assert redact.setting(given, {}) == shown


def test_values_of_variables_named_like_secrets_are_hidden_unless_they_are_words_like_any() -> None:
    assert redact.text("see hunter22hunter22", {"DB_PASSWORD": "hunter22hunter22"}) == "see ***"
    assert redact.text("mode token", {"RAY_TOKEN_MODE": "token"}) == "mode token"
    assert redact.text("plain value1234", {"COLOUR": "value1234"}) == "plain value1234"
