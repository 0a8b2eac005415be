"""A user's own texts through the command: trained on, scored, and asked for a summary or an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.main import main
from harness.storage.store import open_folder

TEXT = """\
question: Is it learnt from a user's own file?
set:
  {{cell: lstm, attention: dot, hidden_size: 32, learning_rate: 0.02, batch_size: 16, examples: 1600, evaluations: 1}}
sweep:
  task: {{name: {name}, data: ./own.tsv, pieces: 60}}
"""
BEASTS, PLACES = ("cat", "dog", "owl", "hen", "fox"), ("mat", "hill", "wall", "roof")
OWN = {
    "summarization": [
        f"Once a {beast} sat on a {place}. It was {when}.\tThe {beast} sat."
        for beast in BEASTS for place in PLACES for when in ("noon", "night", "late")
    ],
    "chatbot": [
        f"{hello}{stop}\tHow do you do?\tWhere is the {beast}?\tThe {beast} is on the {place}."
        for hello in ("Hi", "Hello", "Good day", "Hey") for stop in ".!?"
        for beast, place in zip(BEASTS, (*PLACES, "mat"), strict=True)
    ],
}  # fmt: skip
ASKED = {
    "summarization": ("Once a fox sat on a hill. It was late.", "The fox sat."),
    "chatbot": ("How do you do?\nWhere is the owl?", "The owl is on the wall."),
}


@pytest.mark.parametrize("name", OWN)
def test_own_texts_are_learnt_and_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    Path("own.tsv").write_text("\n".join(f"{row}" for row in OWN[name]))
    Path("x.yaml").write_text(TEXT.format(name=name))
    assert main(["run", "x.yaml", "--on", "inline", "--wandb", "off"]) == 0, capsys.readouterr().err
    (record,) = open_folder(tmp_path / "results" / "x")
    given, answer = ASKED[name]
    capsys.readouterr()
    assert main(["sample", record.trial_id, "--input", given]) == 0
    said = capsys.readouterr().out
    assert f"got     {answer}" in said and given.split("\n")[-1] in said
    assert main(["sample", record.trial_id, "--input", " \n"]) == 2
    assert "--input: an empty text" in capsys.readouterr().err
