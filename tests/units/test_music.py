"""Music: the splits of Boulanger-Lewandowski, the first frame not due, and nats per frame as Bai et al. count them."""

from __future__ import annotations

import io
import math
from pathlib import Path

import mido
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.io import loadmat

from harness.data import sources
from harness.data.read_rolls import KEYS, spelt
from harness.engine import run_trial
from harness.errors import UserError
from harness.models import weights
from harness.tasks.base import SPLITS
from harness.tasks.music import Music
from harness.training import samples
from harness.training.module import RecurrentModule
from harness.trial import Trial

real = pytest.mark.data


def published(name: str, split: str) -> list[np.ndarray]:
    """Pieces (frames, 88) as their authors' file has them."""
    cells = loadmat(io.BytesIO(sources.read("polymusic", f"{name}.mat")))[f"{split}data"][0]
    return [np.asarray(piece, np.float64) for piece in cells]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    pieces = {f"p{i:02}": (rng.random((5 + i, KEYS)) < 0.1).astype(np.uint8) for i in range(10)}
    np.savez(tmp_path / "own.npz", **pieces)
    return tmp_path / "own.npz"


@real
@pytest.mark.parametrize(
    ("data", "name", "pieces", "frames"),
    [
        ("jsb", "JSB_Chorales", (229, 76, 77), (13_807, 4_602, 4_725)),
        ("nottingham", "Nottingham", (694, 173, 170), (176_561, 45_513, 44_463)),
    ],
)
def test_splits_are_the_published_ones_and_the_first_frame_is_not_due(data, name, pieces, frames):
    task = Music(data=data)
    for split, count, total in zip(SPLITS, pieces, frames, strict=True):
        examples, theirs = task.load(split, 0), published(name, split)
        assert len(examples) == len(theirs) == count and sum(map(len, theirs)) == total
        assert examples.lengths.sum() == total - count
        for row in (0, count // 2, count - 1):
            n = int(examples.lengths[row])
            assert n == len(theirs[row]) - 1
            assert np.array_equal(examples.inputs[row, :n], theirs[row][:-1])
            assert np.array_equal(examples.targets[row, :n], theirs[row][1:])
            assert (examples.targets[row, n:] == -100).all() and not examples.inputs[row, n:].any()


@real
def test_the_floor_is_counted_key_by_key():
    train, test = (np.concatenate([p[1:] for p in published("JSB_Chorales", split)]) for split in ("train", "test"))
    nats = 0.0
    for key in range(KEYS):
        p = (train[:, key].sum() + 1) / (len(train) + 2)
        on = test[:, key].sum()
        nats -= on * math.log(p) + (len(test) - on) * math.log(1 - p)
    assert Music().floor() == pytest.approx(nats / len(test), rel=1e-9)


def bai(module: RecurrentModule, pieces: list[np.ndarray]) -> float:
    """Nats per frame as in TCN/poly_music/music_test.py (arXiv:1803.01271): of each piece x = p[:-1], y = p[1:] and
    -trace(y log(s).T + (1 - y) log(1 - s).T), s = sigmoid of the answers, summed and divided by all frames due."""
    total, count = 0.0, 0
    for piece in pieces:
        x, y = torch.from_numpy(piece[:-1]).to(torch.float32)[None], torch.from_numpy(piece[1:])
        stack = module.model.stack
        with torch.no_grad():
            out, _, _ = stack(x, stack.zero_state(1), torch.tensor([x.shape[1]]), [x.shape[1]])
            s = module.model.read_out(out)[0].double().sigmoid()
        total -= float(torch.trace(torch.matmul(y, s.log().T) + torch.matmul(1 - y, (1 - s).log().T)))
        count += len(y)
    return total / count


@real
def test_the_score_of_a_trained_trial_is_what_bai_et_al_count():
    kept: list[bytes] = []
    asked = Trial(task={"name": "music"}, cell={"name": "lstm"}, hidden_size=16, tokens=2_000, bptt_length=50,
                  batch_size=4, learning_rate=0.01, evaluations=1)  # fmt: skip
    record = run_trial(asked, keep=kept.append)
    assert record.status == "ok", record.traceback
    asked = asked.normalised()
    module = RecurrentModule(asked, asked.build_task(), asked.build_cell()).eval()
    weights.restore(module.model, kept[0], record.weights_sha256)
    assert record.score == pytest.approx(bai(module, published("JSB_Chorales", "test")), rel=1e-6)
    assert record.valid_score == pytest.approx(bai(module, published("JSB_Chorales", "valid")), rel=1e-6)
    assert record.metric == "nats_per_frame" and record.score < record.floor * 3


# what is asked and written


def test_what_is_asked_may_be_words_a_file_or_nothing(own: Path, tmp_path: Path):
    task = Music(data=str(own))
    asked = task.ask("C4+E4 - G4")
    assert asked.inputs.shape == (1, 3, KEYS) and (asked.targets == -100).all() and asked.lengths.tolist() == [3]
    assert task.told(samples.given(asked, 0)) == "C4+E4 - G4"
    file = task.ask(str(own))
    with np.load(own) as arrays:
        assert np.array_equal(file.inputs[0], arrays["p00"])
        opening = arrays["p00"][0]
    task.write(tmp_path / "x.mid", [file.inputs[0]])
    assert mido.MidiFile(tmp_path / "x.mid").ticks_per_beat == 480
    nothing = task.ask("")
    assert nothing.inputs.shape == (1, 1, KEYS) and np.array_equal(nothing.inputs[0, 0], opening)
    assert task.told(nothing.inputs[0]) == spelt(opening[None])
    with pytest.raises(UserError, match=r"frame 1: no note 'absent\.mid'"):
        task.ask("absent.mid")
    with pytest.raises(UserError, match="no file there"):
        task.ask("./absent.npz")


def test_a_beat_has_the_frames_of_the_data(own: Path):
    assert [Music(data=d).beat for d in ("jsb", "nottingham", "muse", "piano")] == [1, 2, 2, 2]
    assert Music(data=str(own), frames_per_beat=3).beat == 3
    with pytest.raises(ValidationError, match="frames_per_beat: has no meaning for data 'jsb'"):
        Music(frames_per_beat=2)


def test_own_pieces_are_parted_and_other_content_is_another_trial(own: Path):
    task = Music(data=str(own))
    assert [len(task.load(split, 0)) for split in SPLITS] == [8, 1, 1]
    before = task.plain()["sha256"]
    with np.load(own) as arrays:
        np.savez(own, **{name: 1 - arrays[name] for name in arrays.files})
    assert Music(data=str(own)).plain()["sha256"] != before
