"""Bad settings and bad data through the command: the value, its place and what is allowed; never silent, never NaN."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import harness
from harness.cli.main import main
from harness.storage.store import open_folder

TEXT = """\
question: Is it refused?
set: {hidden_size: 4, examples: 64, evaluations: 1}
sweep:
  - task: {name: adding, length: 8, train_examples: 64, valid_examples: 8, test_examples: 8}
    cell: elman
"""


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ("bptt_length=0", "a whole number from 1 to 1,000,000,000,000, or null"),
        ("bptt_length=-4", "a whole number from 1 to"),
        ("bptt_length=2.5", "a whole number from 1 to"),
        ("bptt_stride=0", "a whole number from 1 to"),
        ("hidden_size=0", "a whole number from 1 to 65,536"),
        ("layers=0", "a whole number from 1 to 64"),
        ("batch_size=0", "a whole number from 1 to"),
        ("dropout=1", "a number of at least 0 and below 1"),
        ("dropout=1.5", "a number of at least 0 and below 1"),
        ("dropout=-0.1", "a number of at least 0 and below 1"),
        ("dropout=.nan", "a finite number"),
        ("learning_rate=0", "a number greater than 0"),
        ("learning_rate=-1", "a number greater than 0"),
        ("clip_norm=0", "a number greater than 0, or null"),
        ("clip_norm=-1", "a number greater than 0, or null"),
        ("clip_agc=-0.1", "a number greater than 0, or null"),
        ("weight_decay=-1", "a number from 0 to 1"),
        ("clip_value=.inf", "a finite number"),
        ("examples=0", "a whole number from 1 to"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_with_the_value_and_what_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], setting: str, allowed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(TEXT)
    assert main(["run", "x.yaml", "--set", setting]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"error: --set {setting}: ") and allowed in said.err and not said.out
    assert setting.partition("=")[2].lstrip("-.") in said.err.partition(": ")[2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.yaml"], "something was written"


TASK = '''
"""A task whose data are wrong in one way."""

from typing import ClassVar, Literal

from harness.tasks.base import Examples, Shape, Task


class Spoilt(Task):
    """Spoilt data: nothing can be learned of it (tested, 2026)."""

    fault: Literal["none", "empty", "too long", "token", "negative token", "nan", "nothing due"] = "none"

    mapping: ClassVar = "many-to-one"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "accuracy"

    @property
    def shape(self):
        return Shape(5, 3, features=2) if self.fault == "nan" else Shape(5, 3, vocabulary=7)

    def load(self, split, seed):
        import numpy as np

        inputs, targets, lengths = np.ones((32, 5), np.int64), np.ones(32, np.int64), np.full(32, 5)
        if self.fault == "nan":
            inputs = np.full((32, 5, 2), 0.5, np.float32)
        if split == "valid":  # not even the first split that is read
            changes = {"empty": (lengths, 3, 0), "too long": (lengths, 3, 6), "token": (inputs, (3, 2), 7)}
            changes |= {"negative token": (inputs, (3, 2), -1), "nan": (inputs, (3, 2), np.nan)}
            changes |= {"nothing due": (targets, slice(None), -100)}
            if self.fault in changes:
                array, place, value = changes[self.fault]
                array[place] = value
        return Examples(inputs, targets, lengths)

    def floor(self):
        return 1.0
'''
SPOILT = """\
question: Is bad data refused?
set: {hidden_size: 4, examples: 64, evaluations: 1, cell: gru}
sweep:
  task: {name: spoilt, fault: [none, empty, too long, token, negative token, nan, nothing due]}
"""
REASONS = {
    "none": "",
    "empty": "row 3: length 0\n  allowed: 1 to 5 steps",
    "too long": "row 3: length 6\n  allowed: 1 to 5 steps",
    "token": "row 3, column 2: token 7\n  allowed: 0 to 6",
    "negative token": "row 3, column 2: token -1\n  allowed: 0 to 6",
    "nan": "row 3, column 2, feature 0: input nan (and 1 more like it)\n  allowed: a finite number",
    "nothing due": "every row: no target is due (and 31 more like it)\n  allowed: at least one target",
}


@pytest.mark.slow
def test_data_at_fault_fail_their_trial_alone_and_the_record_says_where(
    tmp_path: Path, run_python: Callable[..., object]
) -> None:
    """A task that a user wrote, in a copy of the package: one file more."""
    package = Path(harness.__file__).parent
    shutil.copytree(package, tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "harness" / "tasks" / "spoilt.py").write_text(TASK)
    (tmp_path / "x.yaml").write_text(SPOILT)
    code = "import sys; from harness.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = ("run", "x.yaml", "--on", "inline", "--wandb", "off")
    process = run_python(code, *command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)})
    _, said = process.communicate(timeout=180)
    assert process.returncode == 5, said  # done, but some trials are not ok
    records = {r.settings()["task"]["fault"]: r for r in open_folder(tmp_path / "results" / "x")}
    assert {fault: record.status for fault, record in records.items()} == {
        fault: "failed" if reason else "ok" for fault, reason in REASONS.items()
    }
    for fault, record in records.items():
        assert REASONS[fault] in record.reason
        assert fault == "none" or "spoilt, valid split: " in record.reason
    assert records["none"].updates == 2
