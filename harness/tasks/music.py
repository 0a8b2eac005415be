"""Music: what sounds next, polyphony one frame after another."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from harness.data import sources
from harness.data.own import is_path
from harness.data.prepared import Content
from harness.data.read_rolls import KEYS, Rolls, heard, matlab, own_rolls, rolls_of, spelt, write_midi
from harness.late import np
from harness.tasks._prepared import PreparedTask
from harness.tasks.base import Examples, Shape

FILES = {"jsb": "JSB_Chorales", "nottingham": "Nottingham", "muse": "MuseData", "piano": "Piano_midi"}
FRAMES_PER_BEAT = {"jsb": 1}  # quarters; the others are in eighths


class Music(PreparedTask):
    """Music: say which of 88 keys sound in the next frame of a piece (streams of pieces, nats per frame).

    Boulanger-Lewandowski, Bengio, Vincent, ICML 2012, with their splits: `jsb`, Bach's chorales (229 / 76 / 77
    pieces), `nottingham`, folk tunes with chords (694 / 173 / 170), `muse` and `piano`. Keys are independent given the
    past. The first frame of a piece is not due, as in Bai, Kolter, Koltun, arXiv:1803.01271; the mean is over frames.
    Your own pieces: npz of arrays (frames, 88) of 0 and 1, or MIDI, `frames_per_beat` frames a beat; in folders
    train, valid and test, or parted 80 : 10 : 10 in order of their names.
    """

    data: str = "jsb"
    frames_per_beat: int = Field(4, ge=1, le=96, description="of your own pieces")

    sets: ClassVar = {name: (f"polymusic/{file}.mat",) for name, file in FILES.items()}
    mapping: ClassVar = "many-to-many"
    objective: ClassVar = "binary-cross-entropy"
    metric: ClassVar = "nats_per_frame"
    stream: ClassVar = True
    autoregressive: ClassVar = True
    writes: ClassVar = ".mid"

    @model_validator(mode="after")
    def _setting_of_other_data(self) -> Music:
        if not self.own and self.frames_per_beat != type(self).model_fields["frames_per_beat"].default:
            raise ValueError(f"frames_per_beat: has no meaning for data {self.data!r}")
        return self

    @property
    def beat(self) -> int:
        """Frames of a beat."""
        return self.frames_per_beat if self.own else FRAMES_PER_BEAT.get(self.data, 2)

    def prepare(self):
        (source,) = self.sets.get(self.data, ("",))
        pieces = own_rolls(self.data, self.beat) if self.own else matlab(sources.read(*source.split("/")))
        splits = {split: _streams(rolls) for split, rolls in pieces.items()}
        shape = Shape(max(e.inputs.shape[1] for e in splits.values()), features=KEYS, outputs=KEYS)
        ((opening, _),) = Counter(tuple(map(int, np.flatnonzero(roll[0]))) for roll in pieces["train"]).most_common(1)
        return Content(shape, _floor(pieces), splits, {"opening": opening})

    def ask(self, given):
        """Go on after these frames, such as "C4+E4+G4 C4+F4+A4", or after a MIDI or npz file; after nothing, as a piece
        of the training split most often opens."""
        there = given.strip() and is_path(given)
        roll = rolls_of(Path(given).expanduser(), self.beat)[0] if there else heard(given)
        if not len(roll):
            roll = np.zeros((1, KEYS), np.uint8)  # a frame in which nothing sounds
            roll[0, self.facts["opening"]] = 1
        missing = np.full((1, *roll.shape), -100, np.int8)
        return Examples(roll[None], missing, np.array([len(roll)]), scale=1.0)

    def said(self, answer):
        return spelt(answer)

    def told(self, inputs):
        return spelt(inputs)

    def write(self, path, answers):
        write_midi(path, answers, self.beat)


def _streams(rolls: list[np.ndarray]) -> Examples:
    """Pieces as streams: at each frame the next one is due."""
    lengths = np.array([len(roll) - 1 for roll in rolls])
    inputs = np.zeros((len(rolls), lengths.max(), KEYS), np.uint8)
    targets = np.full(inputs.shape, -100, np.int8)
    for row, roll in enumerate(rolls):
        inputs[row, : len(roll) - 1], targets[row, : len(roll) - 1] = roll[:-1], roll[1:]
    return Examples(inputs, targets, lengths, scale=1.0)


def _floor(pieces: Rolls) -> float:
    """Nats per due frame of the test split under the share of frames in which each key sounds in the training split,
    each count plus 1 of 2, so that a key which never sounds there is not infinitely surprising."""
    train, test = (np.concatenate([roll[1:] for roll in pieces[split]]) for split in ("train", "test"))
    share = (train.sum(0) + 1) / (len(train) + 2)
    return float(-(test * np.log(share) + (1 - test) * np.log(1 - share)).sum(1).mean())
