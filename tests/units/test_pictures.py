"""Pictures: thresholded once, drawn by rows or pixels, and nats per image as a sum over all of its pixels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from sklearn.datasets import load_digits

from harness.data import read_idx, sources
from harness.data.read_handwritten import handwritten
from harness.data.read_images import own_pictures, pictures_of, write_grid
from harness.engine import run_trial
from harness.errors import UserError
from harness.models import weights
from harness.tasks.base import SPLITS
from harness.tasks.image_generation import START, ImageGeneration
from harness.training import samples
from harness.training.module import RecurrentModule
from harness.trial import Trial

ORDERS = ("rows", "pixels")
each_order = pytest.mark.parametrize("order", ORDERS)


def drawn(number: int, height: int = 4, width: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((number, height, width)) < 0.4


def refused(call: Any) -> str:
    with pytest.raises(UserError) as error:
        call()
    return str(error.value.faults[0])


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    np.savez(tmp_path / "own.npz", **{split: drawn(6, seed=i) for i, split in enumerate(SPLITS)})
    return tmp_path / "own.npz"


# what is read and due


@each_order
def test_at_each_step_the_next_row_or_pixel_is_due(own: Path, order: Any):
    task = ImageGeneration(data=str(own), order=order)
    with np.load(own) as arrays:
        for split in SPLITS:
            examples, pictures = task.load(split, 0), arrays[split].astype(int)
            flat = pictures if order == "rows" else pictures.reshape(6, -1)
            assert np.array_equal(examples.targets, flat) and np.array_equal(examples.inputs[:, 1:], flat[:, :-1])
            assert (examples.inputs[:, 0] == (0 if order == "rows" else START)).all()
            assert (examples.lengths == task.shape.steps).all() and task.document == task.shape.steps
    assert (task.shape.steps, task.shape.outputs) == ((4, 3) if order == "rows" else (12, 2))


@pytest.mark.data
def test_mnist_is_thresholded_at_half_and_its_last_ten_thousand_validate():
    task = ImageGeneration(data="mnist")
    files = ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte")
    raw = [np.frombuffer(sources.read("mnist", file), np.uint8, offset=16).reshape(-1, 28, 28) for file in files]
    parts = raw[0][:50_000], raw[0][50_000:], raw[1]
    for split, part in zip(SPLITS, parts, strict=True):
        assert np.array_equal(task.load(split, 0).targets, part > 127)
    assert ImageGeneration(data="mnist", order="pixels").shape.steps == 784


def test_the_digits_are_read_as_scikit_learn_reads_them():
    images, classes = handwritten()
    theirs = load_digits()
    assert np.array_equal(images, theirs.images) and np.array_equal(classes, theirs.target)
    assert handwritten()[0] is images and not images.flags.writeable and not classes.flags.writeable


def test_digits_are_each_in_one_split():
    task = ImageGeneration()
    found = np.concatenate([task.load(split, 0).targets for split in SPLITS])
    assert [len(task.load(split, 0)) for split in SPLITS] == [1257, 180, 360]
    theirs = load_digits().images >= 8
    assert sorted(map(bytes, found.astype(np.uint8))) == sorted(map(bytes, theirs.astype(np.uint8)))


@each_order
def test_the_floor_is_counted_pixel_by_pixel(own: Path, order: Any):
    with np.load(own) as arrays:
        train, test = arrays["train"].reshape(6, -1), arrays["test"].reshape(6, -1)
    nats = 0.0
    for picture in test:
        for place, white in enumerate(picture):
            p = (train[:, place].sum() + 1) / (len(train) + 2)
            nats -= math.log(p if white else 1 - p) / len(test)
    assert ImageGeneration(data=str(own), order=order).floor() == pytest.approx(nats, rel=1e-12)


@each_order
def test_the_score_is_the_sum_over_the_pixels_of_an_image_and_the_mean_over_images(order: Any):
    """Against a product of probabilities, picture after picture, by the weights that were kept."""
    kept: list[bytes] = []
    asked = Trial(task={"name": "image-generation", "order": order}, cell={"name": "gru"}, hidden_size=8, tokens=2_000,
                  bptt_length=7, batch_size=4, learning_rate=0.01, evaluations=1)  # fmt: skip
    record = run_trial(asked, keep=kept.append)
    assert record.status == "ok", record.traceback
    asked = asked.normalised()
    task = asked.build_task()
    module = RecurrentModule(asked, task, asked.build_cell()).eval()
    weights.restore(module.model, kept[0], record.weights_sha256)
    examples, total = task.load("test", 0), 0.0
    for inputs, targets in zip(examples.inputs, examples.targets, strict=True):
        read = torch.from_numpy(inputs.astype(np.int64 if order == "pixels" else np.float32))[None]
        with torch.no_grad():
            stack = module.model.stack
            out, _, _ = stack(
                module.model.encode(read), stack.zero_state(1), torch.tensor([len(inputs)]), [len(inputs)]
            )
            scores = module.model.read_out(out)[0].double().numpy()
        if order == "pixels":
            scores = scores[:, 1] - scores[:, 0]
        white = 1 / (1 + np.exp(-scores))
        total -= np.log(np.where(targets == 1, white, 1 - white)).sum()
    assert record.score == pytest.approx(total / len(examples), rel=1e-6)
    assert record.metric == "nats_per_image" and 0 < record.score < record.floor * 3


# what is asked, said and drawn


@each_order
def test_nothing_asks_for_a_picture_and_a_file_for_the_lower_half_of_its_first(own: Path, order: Any):
    task = ImageGeneration(data=str(own), order=order)
    nothing, half = task.ask(""), task.ask(str(own))
    picture = drawn(6, seed=2)[0]  # of the first array by name, "test"
    assert nothing.inputs.shape[1] == 1 and task.told(samples.given(nothing, 0)) == ""
    top = picture[:2] if order == "rows" else picture[:2].reshape(-1)
    assert np.array_equal(half.inputs[0, 1:], top)
    lines = ["".join("#" if p else "." for p in row) for row in picture]
    assert task.told(half.inputs[0]) == "\n".join(lines[:2])
    below = picture[2:] if order == "rows" else picture[2:].reshape(-1)
    assert task.said(below) == "\n".join(lines[2:])
    np.savez(own.with_name("wide.npz"), a=drawn(1, 4, 9))
    said = refused(lambda: task.ask(str(own.with_name("wide.npz"))))
    assert said == f"{own.with_name('wide.npz')}: a picture of size (4, 9)\n  allowed: 4 x 3 pixels"
    assert "no file there" in refused(lambda: task.ask("absent.npz"))


def test_a_grid_shows_every_picture_side_by_side(tmp_path: Path):
    pictures = [picture.astype(np.float32) for picture in drawn(5)]
    write_grid(tmp_path / "x.png", [*pictures[:4], pictures[4][:2]])
    grid = imread(tmp_path / "x.png")[::4, ::4, 0]  # each pixel is 4 x 4 points
    assert grid.shape == (2 * 4 + 1, 3 * 3 + 2)
    for number, picture in enumerate(pictures[:4]):
        top, left = number // 3 * 5, number % 3 * 4
        assert np.array_equal(grid[top : top + 4, left : left + 3], picture)
    assert np.array_equal(grid[5:7, 4:7], pictures[4][:2]) and not grid[7:9, 4:7].any(), "a shorter one ends in black"
    assert np.allclose(grid[4], 0.5, atol=0.01) and np.allclose(grid[5:, 8:], 0.5, atol=0.01)


# a user's own


def save(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "x.npz", **arrays)
    return folder / "x.npz"


def test_bytes_floats_and_truth_values_say_the_same(tmp_path: Path):
    white = drawn(3)
    for array in (
        white,
        white.astype(np.float32),
        np.where(white, 128, 127).astype(np.uint8),
        np.where(white, 0.5, 0.49),
    ):
        assert np.array_equal(pictures_of(save(tmp_path, a=array))["a"], white)


def test_one_array_is_parted(tmp_path: Path):
    found = own_pictures(str(save(tmp_path, a=drawn(30))))
    assert [len(found[split]) for split in SPLITS] == [24, 3, 3]
    assert np.array_equal(np.concatenate([found[split] for split in SPLITS]), drawn(30))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[[None]]]), "not a plain array: Object arrays cannot be loaded when allow_pickle=False"),
        (np.zeros((3, 4)), "float64 of size (3, 4)"),
        (np.zeros((0, 4, 4)), "float64 of size (0, 4, 4)"),
        (np.zeros((3, 4, 4), np.int64), "int64 of size (3, 4, 4)"),
        (np.full((1, 2, 2), np.nan), "picture, row, column (0, 0, 0): nan"),
        (np.full((1, 2, 2), 1.5), "picture, row, column (0, 0, 0): 1.5"),
        (np.ones((1, 2, 2), np.uint8), "bytes of at most 1, which would all be black"),
    ],
)
def test_an_array_that_is_no_picture_is_refused_with_its_place(tmp_path: Path, array: np.ndarray, message: str):
    path = save(tmp_path, bad=array)
    assert refused(lambda: pictures_of(path)).startswith(f"{path}, array 'bad': {message}\n  allowed: ")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": drawn(3), "b": drawn(3)}, "arrays a, b\n  allowed: train, valid and test, or one array"),
        ({"train": drawn(3), "test": drawn(3)}, "arrays test, train\n"),
        ({"train": drawn(3), "valid": drawn(3), "test": drawn(3, 9)}, "pictures of more than one size"),
        ({"a": drawn(2)}, "2 pictures\n  allowed: at least 3"),
    ],
)
def test_arrays_that_make_no_splits_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str):
    path = save(tmp_path, **arrays)
    assert refused(lambda: own_pictures(str(path))).startswith(f"{path}: {message}")


def test_the_same_name_in_two_files_is_refused(tmp_path: Path):
    for name in ("a.npz", "b.npz"):
        np.savez(tmp_path / name, x=drawn(9))
    assert refused(lambda: own_pictures(str(tmp_path))).startswith(f"{tmp_path}/b.npz: array 'x' was in another file")


# IDX


def idx(sizes: tuple[int, ...], values: bytes, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, len(sizes)]) + np.array(sizes, ">u4").tobytes() + values


def test_an_idx_file_is_read_in_its_shape():
    assert read_idx.array(idx((2, 3), bytes(range(6)))).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file of bytes"),
        (b"\0\0\x08\x03\0\0", "not an IDX file of bytes"),
        (idx((2, 2), b"abcd", kind=13), "not an IDX file of bytes"),
        (idx((2, 3), b"abcde"), "17 bytes where its head says 18"),
        (idx((2, 3), b"abcdefg"), "19 bytes where its head says 18"),
        (idx((1 << 31, 1 << 31, 4), b""), f"16 bytes where its head says {(1 << 64) + 16:,}"),
    ],
)
def test_a_cut_or_strange_idx_file_is_refused(content: bytes, message: str):
    assert refused(lambda: read_idx.array(content, "x")).startswith(f"x: {message}\n  allowed: IDX")
