"""When a checkpoint is written: by the clock, within a budget, never at the cost of the trial."""

from __future__ import annotations

import ast
import errno
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from stopping import same, whole

import harness
from harness.engine import run_trial
from harness.errors import Paused
from harness.launch.base import Target, execute
from harness.stop import Stop
from harness.storage import files
from harness.training import keeper
from harness.training.checkpoint import Checkpoints
from harness.training.keeper import Keeper
from harness.trial import Trial

TRIAL = Trial(
    task={"name": "adding", "length": 8, "train_examples": 100, "valid_examples": 50, "test_examples": 50},
    cell={"name": "elman"}, hidden_size=4, batch_size=10, examples=10_000, evaluations=2, clip_norm=1.0,
).normalised()  # fmt: skip


class Counted(Checkpoints):
    """Checkpoints that remember when each was written, and take as long as they are told."""

    seconds = 0.0

    def __init__(self, folder: Path, trial_id: str) -> None:
        super().__init__(folder, trial_id)
        self.written: list[tuple[float, float]] = []

    def write(self, *given: Any) -> None:
        begin = time.monotonic()
        super().write(*given)
        time.sleep(self.seconds)
        self.written.append((begin, time.monotonic()))


@pytest.fixture
def kept(tmp_path: Path) -> Counted:
    return Counted(tmp_path / "c", TRIAL.id)


def test_a_trial_shorter_than_the_interval_writes_nothing(kept):
    expected = whole(TRIAL)
    done: list[bytes] = []
    record = run_trial(TRIAL, keep=done.append, keeper=Keeper(kept))
    assert record.seconds < keeper.EVERY and not kept.written and not kept.folder.exists()
    assert same((record, done), expected)


def test_checkpoints_by_the_clock_change_no_number_and_stay_within_their_share(kept, monkeypatch):
    """One takes 50 ms here, and a tenth of the time may go into them: half a second lies between two."""
    monkeypatch.setattr(keeper, "NAP", 0.01)
    monkeypatch.setattr(keeper, "SHARE", 0.1)
    kept.seconds = 0.05
    expected = whole(TRIAL)
    done: list[bytes] = []
    record = run_trial(TRIAL, keep=done.append, keeper=Keeper(kept, every=0.05))
    assert kept.written, "long enough for one"
    for (begin, end), (following, _) in zip(kept.written, kept.written[1:], strict=False):
        assert following - end >= (end - begin) / keeper.SHARE * 0.99
    assert same((record, done), expected)
    assert record.train_seconds < record.seconds - sum(end - begin for begin, end in kept.written)


def test_an_update_pays_nothing_while_nothing_is_due(kept):
    """The module calls after an update what the probes want to hear, and nothing else."""
    calls = []

    class Looking(Keeper):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            super().on_train_start(trainer, pl_module)
            calls.append(list(pl_module.after_update))

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            calls.append(list(pl_module.after_update))

    run_trial(TRIAL, keeper=Looking(kept))
    run_trial(TRIAL, keeper=Looking())
    assert calls[0] == calls[1] and len({len(each) for each in calls}) == 1


def test_a_full_disk_costs_the_checkpoint_and_not_the_trial(tmp_path, kept, monkeypatch, capsys):
    monkeypatch.setattr(keeper, "NAP", 0.01)
    real = os.write

    def full(descriptor: int, data: Any) -> int:
        real(descriptor, bytes(data)[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "write", full)
    record = run_trial(TRIAL, keeper=Keeper(kept, every=0.02))
    assert record.status == "ok", record.traceback
    assert f"no checkpoint of trial {TRIAL.id}" in capsys.readouterr().out


def test_a_checkpoint_of_what_the_trial_no_longer_is_starts_it_anew(kept, capsys):
    """As after an update of the harness that keeps other things, or forgot to raise a version."""
    expected = whole(TRIAL)

    class Once(Keeper):
        opened = 0

        def open(self, course: Any, data_sha256: str) -> int:
            self.opened += 1
            if self.opened == 1:
                super().open(course, data_sha256)
                self.checkpoints.write({"module": {"updates": 3}, "probes": {"Other": {}}}, 3, 1, self._bound)
            return super().open(course, data_sha256)

    done: list[bytes] = []
    record = run_trial(TRIAL, keep=done.append, keeper=Once(kept))
    assert "it starts anew" in capsys.readouterr().out and (kept.aside / "manifest.json").exists()
    assert record.attempts == 1 and same((record, done), expected)


def test_a_checkpoint_is_bound_to_the_code_that_trains(tmp_path):
    """To the trial's own cell and task too, and to no other's."""
    opened: list[dict[str, str]] = []

    class Looking(Keeper):
        def open(self, course: Any, data_sha256: str) -> int:
            updates = super().open(course, data_sha256)
            opened.append(self._bound)
            return updates

    small = TRIAL.model_copy(update={"examples": 20})
    for asked in (small, small.model_copy(update={"seed": 1}), small.model_copy(update={"cell": {"name": "mgu"}})):
        assert run_trial(asked, keeper=Looking(Checkpoints(tmp_path / asked.id, asked.id))).status == "ok"
    one, other_seed, other_cell = (bound["code"] for bound in opened)
    assert one == other_seed != other_cell and re.fullmatch("[0-9a-f]{12}", one)
    assert opened[0].keys() == {"data", "code", "harness", "torch", "numpy"}


# a request to stop


def test_a_request_reaches_whoever_heeds_it_and_only_once(tmp_path):
    stop = Stop(str(tmp_path / ".stop" / "run"))
    assert not stop.ask() and not stop.asked, "nobody heeds it"
    stop.heeded = True
    other = Stop(stop.path)
    assert stop.ask() and stop.asked and other.asked and not stop.ask()
    stop.withdraw()
    assert not other.asked and os.listdir(tmp_path) == []
    (tmp_path / ".stop").write_text("in the way of the folder")
    assert not stop.ask(), "no place for the file: whoever asks ends at once"


def test_no_trial_starts_once_the_run_was_asked_to_stop(results):
    stop = Stop(str(results / ".stop" / "run"), heeded=True)
    assert stop.ask()
    target = Target(str(results), "quick", "fp", wandb=False, stop=stop)
    with pytest.raises(Paused, match="was not started"):
        execute(TRIAL, target)
    assert not target.store().folder.exists()


# generators


def test_training_draws_from_no_generator_that_a_checkpoint_leaves_out():
    """torch's global one, or one made from a seed on the spot; never NumPy's or Python's global ones."""
    package = Path(harness.__file__).parent
    parts = [package / name for name in ("cells", "tasks", "data", "models", "probes", "training")]
    sources = [path for part in parts for path in part.rglob("*.py")] + [package / "engine.py"]
    assert len(sources) > 60
    for path in sources:
        text = path.read_text()
        drawn = set(re.findall(r"np\.random\.(\w+)", text)) - {"default_rng", "Generator", "SeedSequence"}
        imported = {
            alias.name
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in ([ast.alias(node.module or "")] if isinstance(node, ast.ImportFrom) else node.names)
        }
        assert not drawn and "random" not in imported, path
