"""Clips: tracks of joints, a user's own, films whose label only their order tells, and whole images in IDX files."""

from __future__ import annotations

import io
import pickle
from itertools import pairwise

import numpy as np
import pytest

from harness import registry
from harness.data import read_clips, read_idx, sources
from harness.engine import run_trial
from harness.errors import UserError
from harness.tasks.base import SPLITS
from harness.trial import Trial

JOINTS = 4


def build(name="video", **settings):
    return registry.build("task", {"name": name, **settings})


def faults(call):
    with pytest.raises(UserError) as caught:
        call()
    return [f"{fault.where}: {fault.what}" for fault in caught.value.faults]


def npz(**arrays) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def clips(count: int, seed: int, joints: int = JOINTS, names=("down", "up")) -> dict[str, np.ndarray]:
    """Tracks that rise or fall, at any place and size, of 3 to 8 frames."""
    rng, rows, labels = np.random.default_rng(seed), [], []
    for number in range(count):
        length = int(rng.integers(3, 9))
        way = (-1 if number % 2 else 1) * np.arange(length)[:, None] * [0, 1]
        body = rng.normal(size=(joints, 2))
        rows.append((way[:, None] + body) * rng.uniform(5, 50) + rng.uniform(0, 300, 2))
        labels.append(names[number % 2])
    pose = np.concatenate(rows).astype(np.float32)
    return {"pose": pose, "length": np.array([len(row) for row in rows]), "label": np.array(labels)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    own = tmp_path / "own"
    own.mkdir()
    for seed, (split, count) in enumerate((("train", 60), ("valid", 20), ("test", 30))):
        (own / f"{split}.npz").write_bytes(npz(**clips(count, seed)))
    return own


# tracks


def test_tracks_come_apart_at_their_lengths():
    made = clips(5, 0)
    found, labels = read_clips.tracks(npz(**made))
    assert [len(clip) for clip in found] == made["length"].tolist() and labels == made["label"].tolist()
    assert np.array_equal(np.concatenate(found), made["pose"])


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"pose": np.zeros((9, 4))}, "pose is float64 of size (9, 4)"),
        ({"pose": np.zeros((9, 4, 2), int)}, "pose is int64 of size (9, 4, 2)"),
        ({"pose": np.zeros((9, 0, 2))}, "pose is float64 of size (9, 0, 2)"),
        ({"pose": np.full((9, 4, 2), np.nan)}, "pose holds 72 values that are no finite numbers"),
        ({"length": np.array([4, 0, 5])}, "clip 1 has 0 frames"),
        ({"length": np.array([], int), "label": np.array([])}, "length is int64 of size (0,)"),
        ({"length": np.array([4.0, 5.0, 1.0])}, "length is float64 of size (3,)"),
        ({"length": np.array([4, 4, 2])}, "lengths add up to 10, pose has 9 frames"),
        ({"label": np.array(["a"])}, "1 labels for 3 clips"),
        ({"label": np.arange(2)}, "2 labels for 3 clips"),
        ({"label": None}, "no array 'label'"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, what):
    arrays = {"pose": np.zeros((9, 4, 2)), "length": np.array([4, 3, 2]), "label": np.array(list("aba"))} | changes
    content = npz(**{name: array for name, array in arrays.items() if array is not None})
    assert faults(lambda: read_clips.tracks(content, "x.npz")) == [f"x.npz: {what}"]


class Trap:
    def __reduce__(self):
        return pytest.fail, ("a pickle was loaded",)


@pytest.mark.parametrize("kind", ["text", "cut", "pickle", "npy", "objects"])
def test_what_is_no_npz_of_plain_arrays_is_refused_and_nothing_in_it_runs(kind):
    whole = npz(**clips(9, 0))
    single = io.BytesIO()
    np.save(single, np.zeros(3))
    content = {
        "text": b"some text",
        "cut": whole[: len(whole) // 2],
        "pickle": pickle.dumps(Trap()),
        "npy": single.getvalue(),
        "objects": npz(pose=np.array([Trap()], object), length=np.ones(1), label=np.ones(1)),
    }[kind]
    (found,) = faults(lambda: read_clips.tracks(content, "x.npz"))
    assert found.startswith("x.npz")


def test_neither_place_nor_size_of_a_person_counts_but_the_way_that_is_gone_does():
    clip = np.random.default_rng(0).normal(size=(7, 5, 2))
    features = read_clips.centred(clip)
    assert features.shape == (7, 10) and abs(features.mean()) < 1e-6 and (features**2).mean() == pytest.approx(1)
    np.testing.assert_allclose(read_clips.centred(clip * 40 + [300, -20]), features, atol=1e-5)
    moving = clip + np.arange(7)[:, None, None]
    assert np.abs(read_clips.centred(moving) - features).max() > 0.5
    assert np.isfinite(read_clips.centred(np.ones((3, 5, 2)))).all(), "a person who is one point"


# a user's own


def test_own_clips_are_padded_behind_and_numbered_by_the_names_of_training(folder):
    task = build(data=str(folder))
    assert [len(task.load(split, 0)) for split in SPLITS] == [60, 20, 30]
    assert task.facts["names"] == ["down", "up"] and task.shape.features == 2 * JOINTS and task.floor() == 0.5
    test, made = task.load("test", 0), clips(30, 2)
    assert test.lengths.tolist() == made["length"].tolist()
    assert [task.said(row) for row in test.targets] == made["label"].tolist()
    beyond = np.arange(test.inputs.shape[1]) >= test.lengths[:, None]
    assert not test.inputs[beyond].any() and (test.inputs[~beyond] != 0).any(1).all()
    first = read_clips.centred(made["pose"][: made["length"][0]])
    assert np.array_equal(test.inputs[0, : test.lengths[0]], first)


def test_files_that_are_missing_or_of_other_joints_or_actions_are_refused(folder):
    (folder / "valid.npz").write_bytes(npz(**clips(4, 1, joints=6)))
    (folder / "test.npz").write_bytes(npz(**clips(4, 1, names=("down", "left"))))
    assert faults(lambda: build(data=str(folder)).shape) == [
        f"{folder}: actions that are not trained on: left",
        f"{folder}: clips of 4 and 6 joints",
    ]
    (folder / "valid.npz").write_bytes(b"text")
    assert faults(lambda: build(data=str(folder)).shape)[0].startswith(f"{folder}/valid.npz: not an npz file")
    (folder / "valid.npz").unlink()
    assert faults(lambda: build(data=str(folder)).shape) == [f"{folder}: no valid.npz"]


def test_a_clip_can_be_asked_about(folder):
    task, place = build(data=str(folder)), folder.parent / "mine.npz"
    place.write_bytes(npz(**clips(2, 9)))
    asked = task.ask(str(place))
    assert len(asked) == 1 and asked.lengths[0] == clips(2, 9)["length"][0]
    assert task.told(asked.inputs[0]) == f"{asked.lengths[0]} frames of 8 values"
    place.write_bytes(npz(**clips(2, 9, joints=6)))
    assert faults(lambda: task.ask(str(place))) == [f"{place}: 6 joints"]
    assert faults(lambda: task.ask("nowhere.npz")) == ["nowhere.npz: no file there"]
    assert "are drawn, not read" in faults(lambda: build(data="bouncing-digits").ask(str(place)))[0]


def test_it_learns_whether_tracks_rise_or_fall(folder):
    settings = {"hidden_size": 16, "examples": 3_000, "learning_rate": 0.01, "evaluations": 1}
    record = run_trial(Trial(task={"name": "video", "data": str(folder)}, cell={"name": "gru"}, **settings))
    assert record.status == "ok" and record.score > 0.9 > record.floor, record.reason


def test_only_jhmdb_has_three_splits():
    with pytest.raises(ValueError, match="only 'jhmdb' has three"):
        build(data="bouncing-digits", split=2)


# films


def digits(count: int) -> np.ndarray:
    """One bright square a picture, so that a place is easily found."""
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 8:20, 8:20] = 200
    return images


def test_both_digits_of_a_film_go_halfway_where_it_says():
    films, direction = read_clips.bouncing(digits(5), 400, 0)
    films = films.reshape(400, read_clips.FRAMES, read_clips.FRAME, read_clips.FRAME).astype(float)
    grid = np.arange(read_clips.FRAME)
    total = films.sum((2, 3))
    middle = np.stack([(films * grid[:, None]).sum((2, 3)), (films * grid).sum((2, 3))], 2) / total[:, :, None]
    whole = total[:, 6:9].min(1) == 2 * 200 * 36  # the two do not overlap around the middle frame
    moved = (middle[:, 8] - middle[:, 6])[whole]
    assert whole.sum() > 50 and (np.sign(np.round(moved, 6)) == np.array(read_clips.COMPASS)[direction[whole]]).all()
    assert films.max() == 200 and (total > 0).all()


def test_backwards_a_film_is_of_the_opposite_direction():
    """So that a model without memory, which sees a bag of frames, is right half the time at best."""
    one, direction = read_clips.bouncing(digits(1), 2_000, 0)
    assert np.bincount(direction, minlength=8).min() > 180
    ways = np.array(read_clips.COMPASS)
    back = ways[(direction + 4) % 8]
    assert (back == -ways[direction]).all()
    assert one.shape == (2_000, read_clips.FRAMES, read_clips.FRAME**2) and one.dtype == np.uint8


def test_a_digit_goes_at_most_three_pixels_a_frame_and_stays_inside():
    films, _ = read_clips.bouncing(digits(1), 50, 3)
    for film in films.reshape(50, read_clips.FRAMES, read_clips.FRAME, read_clips.FRAME):
        for before, after in pairwise(film):
            near = np.zeros_like(after, bool)
            for down in range(-3, 4):
                for right in range(-3, 4):
                    near |= np.roll(before > 0, (down, right), (0, 1))
            assert near[after > 0].all()


@pytest.mark.data
def test_digits_of_a_held_out_film_are_never_in_training():
    task = build(data="bouncing-digits")
    assert [len(task.load(split, 0)) for split in SPLITS] == [4_000, 400, 1_000]
    assert abs(task.floor() - 1 / 8) < 0.03
    train = read_idx.array(sources.read("mnist", "train-images-idx3-ubyte"))
    for split, images in (("train", train[:-5_000]), ("valid", train[-5_000:])):
        films, targets = read_clips.bouncing(images, len(task.load(split, 0)), SPLITS.index(split))
        assert np.array_equal(films, task.load(split, 0).inputs)
        assert np.array_equal(targets, task.load(split, 0).targets)


@pytest.mark.data
@pytest.mark.parametrize("split", [1, 2, 3])
def test_jhmdb_keeps_its_official_test_clips_and_validates_on_an_eighth_of_each_action(split):
    task = build(split=split)
    counts = [len(task.load(part, 0)) for part in SPLITS]
    assert counts[0] + counts[1] == (433, 433, 434)[split - 1] and counts[2] == (176, 176, 175)[split - 1]
    assert len(task.facts["names"]) == 14 and task.shape.features == 30 and 15 <= task.shape.steps <= 40
    train, valid = (np.bincount(task.load(part, 0).targets, minlength=14) for part in SPLITS[:2])
    assert (valid == (train + valid) // 8).all()
    seen = {part: {row.tobytes() for row in task.load(part, 0).inputs} for part in SPLITS}
    assert not seen["test"] & (seen["train"] | seen["valid"]) and not seen["train"] & seen["valid"]


# images in IDX files


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def test_idx_is_read_as_it_was_written():
    made = np.random.default_rng(0).integers(0, 256, (5, 3, 2))
    assert np.array_equal(read_idx.array(idx(made)), made)


@pytest.mark.parametrize("content", [b"", b"\0\0\x08", b"\0\0\x0d\x01\0\0\0\x01\0", idx(np.ones(9))[:-1], b"P5 28 28"])
def test_what_is_no_whole_idx_is_refused(content):
    assert faults(lambda: read_idx.array(content, "x"))[0].startswith("x: ")


@pytest.mark.data
def test_mnist_is_split_as_published_and_one_order_permutes_all_its_images():
    plain, mixed, rows = build("mnist"), build("mnist", permuted=True), build("mnist", steps=28)
    assert [len(plain.load(split, 0)) for split in SPLITS] == [55_000, 5_000, 10_000]
    assert plain.floor() == pytest.approx(0.1135)  # ones, of the test file
    for split in ("valid", "test"):
        one, other, third = (task.load(split, 0) for task in (plain, mixed, rows))
        assert one.inputs.shape[1:] == (784, 1) and third.inputs.shape[1:] == (28, 28)
        assert np.array_equal(one.inputs.reshape(-1, 784), third.inputs.reshape(-1, 784))
        assert np.array_equal(one.targets, other.targets)
        order = np.random.default_rng(92916).permutation(784)
        assert np.array_equal(one.inputs[:, order], other.inputs)
    images = read_idx.array(sources.read("mnist", "t10k-images-idx3-ubyte"))
    assert np.array_equal(plain.load("test", 0).inputs.reshape(images.shape), images)


def test_own_images_in_the_files_of_mnist_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    own, rng = tmp_path / "own", np.random.default_rng(0)
    own.mkdir()
    for part, count in (("train", 5_040), ("t10k", 20)):
        (own / f"{part}-images-idx3-ubyte").write_bytes(idx(rng.integers(0, 256, (count, 28, 28))))
        (own / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(count) % 10))
    task = build("mnist", data=str(own), steps=28)
    assert [len(task.load(split, 0)) for split in SPLITS] == [40, 5_000, 20] and task.floor() == pytest.approx(0.1)
    (own / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(7)))
    (own / "t10k-images-idx3-ubyte").write_bytes(idx(np.ones((20, 32, 32))))
    assert faults(lambda: build("mnist", data=str(own)).shape) == [
        f"{own}, train-labels-idx1-ubyte: size (7,)",
        f"{own}, t10k-images-idx3-ubyte: size (20, 32, 32)",
    ]
    (own / "t10k-labels-idx1-ubyte").unlink()
    assert "t10k-labels-idx1-ubyte: no such file" in faults(lambda: build("mnist", data=str(own)).shape)[0]
