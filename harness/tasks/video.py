"""Video: what happens in a clip."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import model_validator

from harness.data import own, read_clips, read_idx, sources
from harness.data.prepared import Content
from harness.errors import Fault, UserError
from harness.late import np
from harness.tasks._prepared import PreparedTask
from harness.tasks.base import SPLITS, Examples, Shape, Split

FILMS: dict[Split, int] = {"train": 4_000, "valid": 400, "test": 1_000}
EIGHTH = 8
"""Of the training clips of an action, in the file's order, each eighth validates."""


class Video(PreparedTask):
    """Video: name what happens in a clip (many-to-one, accuracy).

    `jhmdb`: tracks of 15 joints in real clips (J-HMDB, Jhuang et al., ICCV 2013), 15 to 40 frames, three official
    splits (`split`). Only 14 of its 21 actions, 609 of 928 clips, lie in this copy, so nothing published compares. Each
    clip is centred and scaled by itself (read_clips.py). Of each action each eighth training clip validates; clips of
    one film may stand on both sides of that cut, since no file names films, but not of the official one to the test.
    `bouncing-digits`: films of 15 frames of 32 x 32 pixels, two real MNIST digits in synthetic motion; named is the
    direction, of eight, in which both go halfway, between bounces. Digits of the test file are never in training.
    A folder of yours: train.npz, valid.npz and test.npz of joint tracks, as read_clips.py reads them.
    """

    data: str = "jhmdb"
    split: Literal[1, 2, 3] = 1

    sets: ClassVar = {
        "jhmdb": tuple(f"jhmdb_pose/split{i}_{part}.npz" for i in (1, 2, 3) for part in ("train", "test")),
        "bouncing-digits": ("mnist/train-images-idx3-ubyte", "mnist/t10k-images-idx3-ubyte"),
    }
    mapping: ClassVar = "many-to-one"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "accuracy"

    @model_validator(mode="after")
    def _split_of_jhmdb(self):
        if self.data != "jhmdb" and self.split != 1:
            raise ValueError(f"split {self.split} of {self.data!r}; only 'jhmdb' has three")
        return self

    def prepare(self):
        return self._films() if self.data == "bouncing-digits" else self._tracks()

    def _tracks(self) -> Content:
        clips = self._own() if self.own else self._official()
        names = sorted({label for _, label in clips["train"]})
        unknown = {label for rows in clips.values() for _, label in rows} - set(names)
        joints = {clip.shape[1] for rows in clips.values() for clip, _ in rows}
        faults = [f"actions that are not trained on: {', '.join(sorted(unknown))}"] if unknown else []
        faults += [f"clips of {' and '.join(map(str, sorted(joints)))} joints"] if len(joints) > 1 else []
        if faults:
            raise UserError(Fault(what, where=self.data, allowed="as in train.npz") for what in faults)
        splits = {split: self._examples(rows, names) for split, rows in clips.items()}
        longest = max(e.inputs.shape[1] for e in splits.values())
        shape = Shape(steps=longest, features=2 * joints.pop(), outputs=len(names))
        return Content(shape, _floor(splits), splits, {"names": names})

    def _official(self) -> dict[Split, list[tuple[np.ndarray, str]]]:
        train, test = (
            list(zip(*read_clips.tracks(sources.read("jhmdb_pose", file), file), strict=True))
            for file in (f"split{self.split}_train.npz", f"split{self.split}_test.npz")
        )
        seen: dict[str, int] = {}
        rows: dict[Split, list[tuple[np.ndarray, str]]] = {"train": [], "valid": [], "test": test}
        for clip, label in train:
            seen[label] = seen.get(label, 0) + 1
            rows["valid" if seen[label] % EIGHTH == 0 else "train"].append((clip, label))
        return rows

    def _own(self) -> dict[Split, list[tuple[np.ndarray, str]]]:
        there = {path.name: path for path in own.files(self.data)}
        missing = [f"{split}.npz" for split in SPLITS if f"{split}.npz" not in there]
        if missing:
            raise UserError(
                Fault(f"no {', '.join(missing)}", where=self.data, allowed="train.npz, valid.npz, test.npz")
            )
        files = {split: there[f"{split}.npz"] for split in SPLITS}
        return {
            split: list(zip(*read_clips.tracks(path.read_bytes(), str(path)), strict=True))
            for split, path in files.items()
        }

    @staticmethod
    def _examples(rows: list[tuple[np.ndarray, str]], names: list[str]) -> Examples:
        lengths = np.array([len(clip) for clip, _ in rows], np.int32)
        inputs = np.zeros((len(rows), lengths.max(), 2 * rows[0][0].shape[1]), np.float32)
        for out, (clip, _) in zip(inputs, rows, strict=True):
            out[: len(clip)] = read_clips.centred(clip)
        number = {name: i for i, name in enumerate(names)}
        return Examples(inputs, np.array([number.get(label, -100) for _, label in rows], np.int16), lengths)

    def _films(self) -> Content:
        """Validation films show digits of the last 5,000 training images, as the task of single images does."""
        train, test = (read_idx.array(sources.read(*file.split("/")), file) for file in self.sets[self.data])
        parts = {"train": train[:-5_000], "valid": train[-5_000:], "test": test}
        splits: dict[Split, Examples] = {}
        for seed, split in enumerate(SPLITS):
            films, targets = read_clips.bouncing(parts[split], FILMS[split], seed)
            lengths = np.full(len(films), read_clips.FRAMES, np.int16)
            splits[split] = Examples(films, targets.astype(np.int8), lengths, scale=1 / 255)
        names = list(read_clips.DIRECTIONS)
        shape = Shape(steps=read_clips.FRAMES, features=read_clips.FRAME**2, outputs=len(names))
        return Content(shape, _floor(splits), splits, {"names": names})

    def ask(self, given):
        """The path of an .npz of joint tracks; of several clips the first."""
        path = Path(given).expanduser()
        if self.data == "bouncing-digits":
            raise UserError(Fault("bouncing digits are drawn, not read", where=given, remedy="--index 0"))
        if not path.is_file():
            raise UserError(Fault("no file there", where=given, allowed="the path of an .npz"))
        clips, _ = read_clips.tracks(path.read_bytes(), given)
        wide = clips[0].shape[1] * 2
        if wide != self.shape.features:
            raise UserError(Fault(f"{wide // 2} joints", where=given, allowed=f"{self.shape.features // 2}"))
        return self._examples([(clips[0], "")], self.facts["names"])

    def told(self, inputs):
        return f"{len(inputs)} frames of {inputs.shape[1]} values"

    def said(self, answer):
        return self.facts["names"][int(np.ravel(answer)[0])]


def _floor(splits: dict[Split, Examples]) -> float:
    commonest = np.bincount(splits["train"].targets).argmax()
    return float((splits["test"].targets == commonest).mean())
