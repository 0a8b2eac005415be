"""The main job: laws about `harness run`, with real Ray, real W&B and real training."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from wandb_file import read as read_wandb

from harness import spent
from harness.record import Record
from harness.storage.store import open_folder

BENCHMARK = """
question: Does the main job hold?
name: tiny
seeds: 2
set: {hidden_size: 8, batch_size: 32, learning_rate: 0.01, probe_every: 5, evaluations: 2}
sweep:
  - task: {name: digits, steps: 8}
    cell: [elman, lstm, feedforward]
    bptt_length: [4, null]
    clip_norm: 1.0
    examples: %d
"""
TRIALS = 10  # 2 cells x 2 lengths x 2 seeds, and a feed-forward net that has no length


@pytest.fixture
def benchmark_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(BENCHMARK % 640)
    return path


def harness(*words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "harness", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | more,
        check=False,
    )


def records(folder: Path) -> dict[str, Record]:
    return {record.trial_id: record for record in open_folder(folder / "tiny")}


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Identity of each record's file: a trial that ran again would have written a new one."""
    return {p.stem: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (folder / "tiny").glob("*/*.parquet")}


def same(a: dict[str, Record], b: dict[str, Record]) -> bool:
    return repr({k: v.without_times() for k, v in sorted(a.items())}) == repr(
        {k: v.without_times() for k, v in sorted(b.items())}
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of an uninterrupted run on Ray, shared by the tests that only look."""
    folder = tmp_path_factory.mktemp("finished")
    path = folder / "tiny.yaml"
    path.write_text(BENCHMARK % 640)
    done = harness("run", path, "--results", folder / "results")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "output.txt").write_text(done.stdout)
    return folder


def test_every_trial_has_one_record_and_the_reports_are_there(finished: Path) -> None:
    found = records(finished / "results")
    assert len(found) == TRIALS and {r.status for r in found.values()} == {"ok"}
    for kind in ("md", "csv", "html"):
        assert (finished / "results" / "tiny" / f"tiny.{kind}").stat().st_size > 200


def test_a_stored_trial_never_runs_again(finished: Path) -> None:
    before = stamps(finished / "results")
    begin = time.monotonic()
    again = harness("run", finished / "tiny.yaml", "--results", finished / "results")
    assert again.returncode == 0, again.stderr
    assert stamps(finished / "results") == before
    assert time.monotonic() - begin < 30
    assert "log:" not in again.stdout  # Ray was not even started


def test_this_process_and_ray_give_the_same_records(finished: Path, tmp_path: Path) -> None:
    done = harness("run", finished / "tiny.yaml", "--on", "inline", "--wandb", "off", "--results", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert same(records(tmp_path), records(finished / "results"))


def test_what_the_machine_can_do_is_measured_once_in_a_command(finished: Path) -> None:
    """By one of the workers, before its first trial; it is no part of any record."""
    found = records(finished / "results").values()
    assert len({(r.limits_measured, r.limit_flops_per_second) for r in found}) == 1
    ((_, account),) = spent.commands(finished / "results" / "tiny")
    assert account["spent"]["calibrate"] > 0
    assert not any("calibrate" in record.spent_names for record in found)


def test_chatter_goes_to_a_log_whose_path_is_shown(finished: Path) -> None:
    output = (finished / "output.txt").read_text()
    (line,) = [line for line in output.splitlines() if line.startswith("log: ")]
    assert Path(line.removeprefix("log: ")).exists()
    for noise in ("INFO", "WARNING", "pid=", "Tip:", "GPU available"):
        assert noise not in output


def test_one_complete_wandb_run_for_each_trial(finished: Path) -> None:
    found = records(finished / "results")
    files = list((finished / "results" / "tiny" / "wandb").glob("offline-run-*/run-*.wandb"))
    runs = [read_wandb(path) for path in files]
    assert sorted(run["config"]["trial_id"] for run in runs) == sorted(found)
    for run in runs:
        record = found[run["config"]["trial_id"]]
        assert run["exit"] == 0 and run["group"] == "tiny" and "ok" in run["tags"]
        assert run["config"]["learning_rate"] == 0.01 and run["config"]["cell"] == record.settings()["cell"]
        for name in ("gradient_norm_median", "clipped_share", "parameters", "tokens_per_second"):
            assert run["summary"][name] == pytest.approx(getattr(record, name), rel=1e-12)
        assert run["summary"]["accuracy"] == pytest.approx(record.score)
        points = [row for row in run["history"] if "valid_accuracy" in row]
        assert [row["valid_accuracy"] for row in points] == pytest.approx(record.curve_valid_score)


def test_a_missing_wandb_run_is_written_by_the_next_command(finished: Path) -> None:
    import shutil

    (first, *_) = sorted((finished / "results" / "tiny" / "wandb").glob("offline-run-*"))
    run_id = first.name.split("-", 3)[3]
    shutil.rmtree(first)
    assert harness("run", finished / "tiny.yaml", "--results", finished / "results").returncode == 0
    assert len(list((finished / "results" / "tiny" / "wandb").glob(f"offline-run-*-{run_id}"))) == 1


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder for temporary files, of a short name: those of sockets below it are limited."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.mark.slow
def test_kill_dash_nine_at_any_moment_loses_and_repeats_nothing(finished: Path, tmp_path: Path, scratch: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    kept: dict[str, tuple[int, int]] = {}
    for _ in range(2):
        command = [sys.executable, "-m", "harness", "run", str(finished / "tiny.yaml"), "--results", str(tmp_path)]
        env = os.environ | {"TMPDIR": str(scratch)}
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
        deadline = time.monotonic() + 120
        wanted = len(kept) + rng.randint(1, 3)  # kill once this many records are there, somewhere inside the next trial
        while len(stamps(tmp_path)) < min(wanted, TRIALS - 1) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(rng.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = stamps(tmp_path)
        assert all(now[trial] == stamp for trial, stamp in kept.items())
        kept = now
    done = harness("run", finished / "tiny.yaml", "--results", tmp_path, TMPDIR=str(scratch))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(scratch.glob("harness-*")), "what the killed ones left there"
    final = stamps(tmp_path)
    assert all(final[trial] == stamp for trial, stamp in kept.items())  # no finished trial ran again
    assert same(records(tmp_path), records(finished / "results"))


def test_a_diverging_trial_is_a_record_and_the_sweep_goes_on(benchmark_file: Path, tmp_path: Path) -> None:
    done = harness(
        "run", benchmark_file, "--results", tmp_path / "r", "--on", "inline", "--wandb", "off", "--set", "seeds=1",
        "--set", "learning_rate=1e3", "--set", "clip_norm=null",
    )  # fmt: skip
    assert done.returncode == 5, done.stdout + done.stderr
    found = records(tmp_path / "r")
    diverged = [r for r in found.values() if r.status == "diverged"]
    assert diverged and len(found) == TRIALS // 2
    for record in diverged:
        assert record.failed_update == record.updates >= 1
        assert record.failed_layer and record.reason and record.verdict == "diverged"
    assert "diverged" in done.stdout


@pytest.mark.slow
def test_two_commands_at_once_share_the_work(finished: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness", "run", str(finished / "tiny.yaml"), "--results", str(tmp_path)]
    command += ["--on", "inline", "--wandb", "off"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert same(records(tmp_path), records(finished / "results"))
