"""Image generation: pictures of black and white, drawn row by row or pixel by pixel."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from harness.data import sources
from harness.data.prepared import Content
from harness.data.read_handwritten import handwritten
from harness.data.read_idx import array
from harness.data.read_images import own_pictures, pictures_of, shown, write_grid
from harness.errors import Fault, UserError
from harness.late import np
from harness.tasks._prepared import PreparedTask
from harness.tasks.base import SPLITS, Examples, Shape, Split

BLACK, WHITE, START = 0, 1, 2
"""Classes of pixels, and what is read before the first of them."""
HELD_OUT = 10_000
DIGITS_TRAIN, DIGITS_VALID = 1257, 180


class ImageGeneration(PreparedTask):
    """Image generation: draw the next row or pixel of a picture from those above (streams of pictures, nats per image).

    Larochelle and Murray, "The neural autoregressive distribution estimator", AISTATS 2011; van den Oord et al.,
    arXiv:1601.06759. A pixel is white from half of full brightness on: a fixed threshold, so that the numbers are not
    comparable with those of randomly binarised MNIST. `order: rows`: the pixels of a row are independent given the
    rows above; `pixels`: each is drawn given all before it, as a class.
    `digits`: the 1,797 of 8 x 8 pixels that come with scikit-learn, by a fixed shuffle 1,257 / 180 / 360. `mnist`:
    28 x 28, of the training file the last 10,000 are validation: 50,000 / 10,000 / 10,000. Your own: npz files with
    arrays (N, height, width) named train, valid and test, or with one array, parted 80 : 10 : 10.
    """

    data: str = "digits"
    order: Literal["rows", "pixels"] = "rows"

    sets: ClassVar = {
        "digits": (),
        "mnist": ("mnist/train-images-idx3-ubyte", "mnist/t10k-images-idx3-ubyte"),
    }
    mapping: ClassVar = "many-to-many"
    metric: ClassVar = "nats_per_image"
    stream: ClassVar = True
    autoregressive: ClassVar = True
    writes: ClassVar = ".png"

    @property
    def objective(self) -> str:  # type: ignore[override]  # by the order
        """Independent values of a row, or the class of a pixel."""
        return "binary-cross-entropy" if self.order == "rows" else "cross-entropy"

    @property
    def document(self):
        return self.shape.steps

    def prepare(self):
        pictures = own_pictures(self.data) if self.own else self._pictures()
        splits = {split: self._streams(found) for split, found in pictures.items()}
        height, width = pictures["train"].shape[1:]
        if self.order == "rows":
            shape = Shape(steps=height, features=width, outputs=width)
        else:
            shape = Shape(steps=height * width, vocabulary=START + 1, outputs=WHITE + 1)
        return Content(shape, _floor(pictures), splits, {"height": height, "width": width})

    def _pictures(self) -> dict[Split, np.ndarray]:
        """Return pixels 0 and 1 of each split (N, H, W)."""
        if self.data == "mnist":
            held = HELD_OUT
            known, test = (array(sources.read(*file.split("/")), file) >= 128 for file in self.sets["mnist"])
        else:
            drawn = handwritten()[0] >= 8  # of 16
            drawn = drawn[np.random.default_rng(0).permutation(len(drawn))]
            known, test = np.split(drawn, [DIGITS_TRAIN + DIGITS_VALID])
            held = DIGITS_VALID
        parts = known[:-held], known[-held:], test
        return {split: part.astype(np.uint8) for split, part in zip(SPLITS, parts, strict=True)}

    def _streams(self, pictures: np.ndarray) -> Examples:
        """Each picture a document: at each step the next row or pixel is due, the first one after a start."""
        rows = pictures if self.order == "rows" else pictures.reshape(len(pictures), -1)
        inputs = np.roll(rows, 1, axis=1)
        inputs[:, 0] = self._before
        lengths = np.full(len(rows), rows.shape[1])
        return Examples(inputs, rows.astype(np.int8), lengths, scale=1.0 if self.order == "rows" else 0.0)

    @property
    def _before(self) -> int:
        """What is read before the first row or pixel."""
        return BLACK if self.order == "rows" else START

    def ask(self, given):
        """Draw a whole picture, of nothing; of an npz file, the lower half of its first picture."""
        rows = np.zeros((0, self.facts["width"]), np.uint8)
        if given.strip():
            picture = next(iter(pictures_of(Path(given).expanduser()).values()))[0]
            if picture.shape != (self.facts["height"], self.facts["width"]):
                allowed = f"{self.facts['height']} x {self.facts['width']} pixels"
                raise UserError(Fault(f"a picture of size {picture.shape}", where=given, allowed=allowed))
            rows = picture[: len(picture) // 2]
        rows = rows if self.order == "rows" else rows.reshape(-1)
        inputs = np.concatenate([np.full_like(rows, self._before, shape=(1, *rows.shape[1:])), rows])[None]
        missing = np.full(inputs.shape, -100, np.int8)
        return Examples(inputs, missing, np.array([inputs.shape[1]]), scale=1.0 if self.order == "rows" else 0.0)

    def said(self, answer):
        return shown(self._rows(answer))

    def told(self, inputs):
        return shown(self._rows(inputs[1:]))

    def write(self, path, answers):
        write_grid(path, [self._rows(answer) for answer in answers])

    def _rows(self, answer: np.ndarray) -> np.ndarray:
        """Return whole rows (H, W), the last one filled with black."""
        missing = -answer.size % self.facts["width"]
        return np.append(answer.reshape(-1), [BLACK] * missing).reshape(-1, self.facts["width"])


def _floor(pictures: dict[Split, np.ndarray]) -> float:
    """Nats per image of the test split under the share of training images in which each pixel is white, each count plus
    1 of 2, so that a pixel which is always black there is not infinitely surprising."""
    share = (pictures["train"].sum(0) + 1) / (len(pictures["train"]) + 2)
    white = pictures["test"].mean(0)
    return float(-(white * np.log(share) + (1 - white) * np.log(1 - share)).sum())
