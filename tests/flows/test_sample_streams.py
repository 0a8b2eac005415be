"""Streams of a user's own, trained by `harness run` and continued by `harness sample`: text, music and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from harness.cli.main import main
from harness.data.read_rolls import heard, rolls_of, spelt, write_midi

SCALE = "C4+E4 D4+F4 E4+G4 F4+A4"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def trained(task: str, **settings: Any) -> Path:
    """Run one trial and return its record's file."""
    plain = {"cell": "lstm", "hidden_size": 24, "batch_size": 4, "learning_rate": 0.02, "schedule": "cosine",
             "bptt_length": 16, "clip_norm": 1.0, "evaluations": 1, **settings}  # fmt: skip
    text = ", ".join(f"{key}: {value}" for key, value in plain.items())
    Path("x.yaml").write_text(f"question: Is it learned?\nset: {{{text}}}\nsweep:\n  - task: {task}\n")
    assert main(["run", "x.yaml", "--on", "inline", "--wandb", "off"]) == 0
    (record,) = Path("results").glob("x/*/*.parquet")
    return record


def said(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    capsys.readouterr()
    assert main(["sample", *words]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("words", "prompt", "answer"), [(0, "one tw", "o three one t"), (9, "one two", "three one two three")]
)
def test_a_text_is_completed(own, capsys, words, prompt, answer):
    (own / "a.txt").write_text("one two three " * 200)
    record = trained(f"{{name: autocomplete, data: {own}, words: {words}}}", tokens=8_000)
    steps = str(len(answer) if not words else 4)
    told = said(capsys, str(record), "--prompt", prompt, "--length", steps, "--temperature", "0")
    assert told[2:] == [f"given   {prompt}", f"got     {answer}"], "\n".join(told)
    two = said(capsys, record.stem, "--prompt", prompt, "--count", "2", "--seed", "3")
    assert sum(line.startswith("got") for line in two) == 2
    assert main(["sample", record.stem, "--index", "0"]) == 2
    assert "--index: task 'autocomplete' goes on from a prompt" in capsys.readouterr().err


def test_a_tune_is_continued_in_words_and_as_a_midi_file(own, capsys):
    for number in range(10):
        write_midi(own / f"{number}.mid", [np.tile(heard(SCALE), (5, 1))], 2)
    record = trained(
        f"{{name: music, data: {own}, frames_per_beat: 2}}", tokens=16_000, batch_size=2, learning_rate=0.05
    )
    ask = ("--prompt", "C4+E4 D4+F4", "--length", "6", "--temperature", "0")
    expected = "E4+G4 F4+A4 C4+E4 D4+F4 E4+G4 F4+A4"
    told = said(capsys, str(record), *ask, "--out", "x.mid")
    assert told[1] == "wrote x.mid" and told[-1] == f"got     {expected}", "\n".join(told)
    assert spelt(rolls_of(Path("x.mid"), 2)[0]) == expected
    from_file = said(capsys, str(record), "--input", str(own / "0.mid"), "--length", "1", "--temperature", "0")
    assert from_file[-1] == "got     C4+E4"
    for words, message in (("C4", "this file exists, and stays"), ("C4 H1", "frame 2: no note 'H1'")):
        assert main(["sample", str(record), "--prompt", words, *(["--out", "x.mid"] if words == "C4" else [])]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("order", ["rows", "pixels"])
def test_pictures_are_drawn_into_a_grid(own, capsys, order):
    stripes = np.zeros((40, 4, 5), bool)
    stripes[:, 1::2] = True
    np.savez(own / "x.npz", stripes)
    record = trained(
        f"{{name: image-generation, data: {own}, order: {order}}}", tokens=4_000 if order == "rows" else 9_000
    )
    told = said(capsys, str(record), "--temperature", "0")
    assert told[3:] == ["got     .....", "        #####", "        .....", "        #####"], "\n".join(told)
    said(capsys, str(record), "--temperature", "0", "--count", "4", "--out", "x.png")
    grid = imread("x.png")[::4, ::4, 0]
    assert (
        grid.shape == (9, 11) and np.array_equal(grid[:4, :5], stripes[0]) and np.array_equal(grid[5:, 6:], stripes[0])
    )
    half = said(capsys, str(record), "--input", str(own / "x.npz"), "--temperature", "0")
    assert half[2:] == ["given   .....", "        #####", "got     .....", "        #####"], "\n".join(half)
