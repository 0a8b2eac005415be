"""W&B online, against a stand-in on loopback: runs arrive once and whole; whatever is wrong there, training goes on."""

from __future__ import annotations

import math
import os
import re
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from report_records import grid, record
from wandb_file import payloads, read
from wandb_server import Server, serving

from harness.cli.main import main
from harness.storage.store import Store, open_folder
from harness.tracking import runs, upload

BENCHMARK = """
question: What stays here?
name: tiny
seeds: 2
set: {hidden_size: 4, batch_size: 32, learning_rate: 0.01, probe_every: 5, evaluations: 2, bptt_length: null}
sweep:
  - {task: {name: digits, steps: 8}, cell: elman, examples: 320}
"""
KEY = "0123456789" * 4
CANARY = "zq7canary4d1e8b"


@pytest.fixture(autouse=True)
def one_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that W&B's client takes, nobody's settings, and little patience."""
    for name in ("WANDB_ENTITY", "WANDB_PROJECT", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("WANDB_HTTP_TIMEOUT", "WANDB__GRAPHQL_RETRY_MAX", "WANDB__GRAPHQL_RETRY_WAIT_MAX_SECONDS"):
        monkeypatch.setenv(name, "1")


def ours(row: dict) -> dict:
    return {name: value for name, value in row.items() if not name.startswith("_")}


def same_as_offline(server: Server, folder: Path) -> None:
    """What the server was told is what the files on this machine hold, each step once and in order."""
    found = runs.written(folder)
    assert sorted(server.lines) == sorted(found) and len(found) > 0
    for run_id, (place,) in found.items():
        told, held = server.lines[run_id], read(next(place.glob("*.wandb")))
        assert sorted(told) == list(range(len(held["history"])))
        assert [told[i]["_step"] for i in sorted(told)] == list(range(len(told)))
        assert [ours(told[i]) for i in sorted(told)] == [ours(row) for row in held["history"]]
        assert ours(server.summaries[run_id]) == pytest.approx(ours(held["summary"]))
        run = server.runs[run_id]
        assert run["groupName"] == held["group"] and run["tags"] == held["tags"] and run["exit"] == held["exit"]


def text_of(path: Path) -> bytes:
    """What a file of a run says, without the checksums, in which every two letters come up once in a while."""
    content = path.read_bytes()
    return b"\n".join(payloads(content)) if path.suffix == ".wandb" else content


def names(text: bytes, host: str) -> bool:
    """Whether a host is named as a word of its own: a name of two letters is also part of many a run's random id."""
    return re.search(rb"(?<![0-9A-Za-z])" + re.escape(host.encode()) + rb"(?![0-9A-Za-z])", text) is not None


def stored(root: Path, count: int = 2) -> Path:
    """A folder with records and no run."""
    for trial in grid()[:count]:
        Store(root, "quick", "test-2c-01234567").write(record(trial))
    return root / "quick"


@pytest.mark.slow
def test_a_benchmark_online_ends_with_every_run_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / CANARY
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("SOME_TOKEN", CANARY)
    monkeypatch.setenv("INNOCENT", CANARY)
    Path("tiny.yaml").write_text(BENCHMARK)
    with serving(500) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        assert main(["run", "tiny.yaml", "--on", "inline", "--wandb", "online"]) == 0
        told = capsys.readouterr()
        assert (told.out + told.err).count("warning") == 1 and "has not got 2 of 2 runs" in told.out
        server.behaviour = "ok"
        assert main(["run", "tiny.yaml", "--on", "inline", "--wandb", "online"]) == 0
        told = capsys.readouterr()
        assert "W&B: 2 runs uploaded" in told.out and "warning" not in told.out + told.err
        same_as_offline(server, Path("results/tiny"))
        for made in open_folder(Path("results/tiny")):
            summary = server.summaries[runs.run_id(made)]
            assert summary["accuracy"] == pytest.approx(made.score, nan_ok=True)
            assert summary["gradient_norm_median"] == pytest.approx(made.gradient_norm_median)
        asked = len(server.asked)
        assert main(["run", "tiny.yaml", "--on", "inline", "--wandb", "online"]) == 0
        assert len(server.asked) == asked, "nothing is told twice"
        kept = {path: text_of(path) for path in Path("results/tiny/wandb").rglob("*") if path.is_file()}
        assert any(path.suffix == ".wandb" for path in kept)
        for place, text in {Path("what the server was sent"): bytes(server.raw), **kept}.items():
            for secret in (KEY, CANARY):  # of the environment and the path
                assert secret.encode() not in text, place
            assert not names(text, os.uname().nodename), place


def test_sync_brings_what_is_missing_and_a_second_time_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stored(tmp_path / "results")
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        for rebuilt, uploaded in ((2, 2), (0, 0)):
            assert main(["wandb", "sync", str(tmp_path / "results"), "--entity", "team"]) == 0
            told = capsys.readouterr().out
            assert f"2 records, {rebuilt} runs rebuilt" in told and f"{uploaded} runs uploaded, 0 left" in told
            same_as_offline(server, folder)
        (marker, *_) = folder.rglob("*.wandb.synced")  # as where a kill came between the last byte and the marker
        marker.unlink()
        assert main(["wandb", "sync", str(folder)]) == 0
        same_as_offline(server, folder)


SLOW = [pytest.param(wrong, marks=pytest.mark.slow) for wrong in (429, 500, 401, "hang", "no key")]


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["refused", *SLOW])
def test_whatever_is_wrong_training_goes_on_and_one_warning_is_said(
    wrong: str | int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stored(tmp_path)
    made = open_folder(folder)
    monkeypatch.setattr(upload, "INTERVAL", 0.2)
    if wrong == "no key":
        monkeypatch.delenv("WANDB_API_KEY")
    said: list[str] = []
    with serving(wrong if wrong == "hang" or isinstance(wrong, int) else "ok") as server, socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # nobody listens here
        url = f"http://127.0.0.1:{free.getsockname()[1]}" if wrong == "refused" else server.url
        monkeypatch.setenv("WANDB_BASE_URL", url)
        begin = time.monotonic()
        with upload.Uploader(folder, said.append):
            runs.publish(made[0], folder)
            longest, last = 0.0, time.monotonic()
            while time.monotonic() < begin + 6:  # a loop of small updates
                sum(math.sqrt(i) for i in range(1_000))
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
            runs.publish(made[1], folder)
        assert time.monotonic() - begin < 6 + upload.FIRST + 2 * upload.EACH
    assert longest < 5  # seconds of one update; a hanging server holds its client for longer
    assert len(said) == 1 and said[0].startswith("warning: W&B has not got 2 of 2 runs"), said
    assert "harness wandb sync" in said[0] and KEY not in said[0]
    assert len(runs.written(folder)) == 2 and not runs.missing(made, folder)


def test_sync_that_fails_says_why_once_and_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stored(tmp_path, 1)
    monkeypatch.delenv("WANDB_API_KEY")
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        assert main(["wandb", "sync", str(folder)]) == 75
    told = capsys.readouterr().err
    assert told.count("error:") == 1 and "W&B has not got 1 of 1 runs: No API key configured" in told
    assert f"try: harness wandb sync {folder}" in told


@pytest.mark.parametrize("how", ["an exception", "a request"])
def test_a_run_asked_to_stop_does_not_wait_for_wandb(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stored(tmp_path)
    runs.publish(open_folder(folder)[0], folder)
    monkeypatch.setattr(upload, "INTERVAL", 0.05)
    said: list[str] = []
    with serving("hang") as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "30")
        asked = threading.Event()
        with suppress(KeyboardInterrupt), upload.Uploader(folder, said.append, asked.is_set):
            while not server.asked:
                time.sleep(0.05)
            begin = time.monotonic()
            if how == "an exception":
                raise KeyboardInterrupt
            asked.set()
        assert time.monotonic() - begin < 5
    assert not said


def test_offline_talks_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        folder = stored(tmp_path, 1)
        assert main(["wandb", "sync", str(folder), "--offline"]) == 0
        assert main(["wandb", "dashboard", str(folder)]) == 0
        time.sleep(1)  # what a process of W&B's might still say
        assert server.asked == []
