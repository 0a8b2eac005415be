"""Benchmarks on files through the verbs that only look: prepared once, quick ever after, or plainly absent."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_cli_fast import HEAVY, cpu_seconds

from harness.cli.main import main
from harness.registry import build

ABSENT = """\
question: Where are the data?
set: {hidden_size: 4, examples: 64, evaluations: 1, cell: [elman, lstm]}
sweep:
  - task: {name: speech, mels: [20, 40]}
  - task: pos
    bptt_length: 4
  - task: {name: sentiment, words: 100}
"""
OWN = """\
question: What do I read?
seeds: 3
set: {hidden_size: [4, 8], tokens: 1000, evaluations: 1, bptt_length: 8, cell: [elman, lstm, gru]}
sweep: {task: {name: autocomplete, data: ./texts}}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, on a machine without data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HARNESS_DATA_MIRROR", raising=False)
    return tmp_path


@pytest.fixture
def own(here: Path) -> Path:
    """A benchmark on a text of one's own, long since saved."""
    (here / "x.yaml").write_text(OWN)
    (here / "texts").mkdir()
    for split in ("train", "valid", "test"):
        (here / "texts" / f"{split}.txt").write_text("to be or not to be, that is the question\n" * 100)
    return here


@pytest.mark.parametrize("verb", ["show", "run"])
def test_every_absent_data_set_is_named_with_its_place_and_both_ways_to_get_it(
    here: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    (here / "x.yaml").write_text(ABSENT)
    assert main([verb, "x.yaml"]) == 2
    said = capsys.readouterr()
    asked = [("4: sweep[0]", "speech", "fsdd"), ("5: sweep[1]", "pos", "ud_english_ewt"),
             ("7: sweep[2]", "sentiment", "sst")]  # fmt: skip
    assert said.err == "".join(
        f"error: x.yaml:{place}: task '{task}': data set '{name}' is not on this machine\n"
        f"  try: harness data fetch {name}, or set HARNESS_DATA_MIRROR to a folder that holds a copy in {name}/\n"
        for place, task, name in asked
    )
    assert not said.out and [path.name for path in here.iterdir()] == ["x.yaml"], "something was written"


def test_list_reads_no_data(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "benchmarks" / "deeper").mkdir(parents=True)
    (here / "benchmarks" / "x.yaml").write_text(ABSENT)
    (here / "benchmarks" / "deeper" / "y.yaml").write_text(OWN)
    assert main(["list", "benchmarks"]) == 0
    said = capsys.readouterr().out
    assert "benchmarks/x.yaml  (at most 8 trials)" in said and "benchmarks/deeper/y.yaml  (at most 18 trials)" in said
    assert not (here / "cache").exists()


def test_data_are_prepared_once_and_then_shown_in_half_a_second(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "x.yaml"]) == 0
    first = capsys.readouterr()
    assert first.err == "preparing the data of autocomplete, once\n" and "18 trials" in first.out
    code = "import sys; from harness.cli.main import main; main(['show', 'x.yaml'])"
    code += f"; print(sorted({set(HEAVY)!r} & set(sys.modules)))"
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert (again.stdout, again.stderr) == (first.out + "[]\n", "")
    assert any(cpu_seconds("-m", "harness", "show", "x.yaml", cwd=own) < 0.5 for _ in range(15))


def test_files_that_change_are_other_data(own: Path) -> None:
    def hashed() -> str:
        return build("task", {"name": "autocomplete", "data": "./texts"}).plain()["sha256"]

    found = [hashed()]
    for text in ("another text\n", "yet one more\n"):  # of the same length, at once
        (own / "texts" / "valid.txt").write_text(text * 100)
        found.append(hashed())
    assert len(set(found)) == 3 and hashed() == found[-1]


@pytest.mark.parametrize("cache", ["x.yaml", "x.yaml/c", "/proc/c", "n" * 300])
def test_a_cache_that_cannot_be_written_is_said(
    own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cache: str
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", cache)
    assert main(["show", "x.yaml"]) == 2
    said = capsys.readouterr().err
    assert f"error: x.yaml:4: sweep: {cache}/prepared: cannot write prepared data: " in said
    assert "try: set HARNESS_CACHE to a folder of yours" in said


def test_a_full_disk_and_a_kill_while_preparing_leave_nothing(own: Path, run_python: Callable[..., object]) -> None:
    code = """
        import resource, sys
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        from harness.cli.main import main
        sys.exit(main(["show", "x.yaml"]))
    """
    process = run_python(code)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75 and "cannot write the data of autocomplete" in said and "Traceback" not in said
    assert [path.name for path in (own / "cache" / "prepared").iterdir()] == []
    hanging = """
        import json, time
        json.dump = lambda *_: time.sleep(60)
        from harness.cli.main import main
        main(["show", "x.yaml"])
    """
    process = run_python(hanging)
    deadline = time.monotonic() + 60
    while not list((own / "cache").rglob("test.arrow")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list((own / "cache" / "prepared").glob(".autocomplete-*"))
    assert main(["show", "x.yaml"]) == 0
    (folder,) = (own / "cache" / "prepared").iterdir()
    assert {path.name for path in folder.iterdir()} == {"facts.json", "train.arrow", "valid.arrow", "test.arrow"}
