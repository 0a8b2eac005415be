"""Handwritten digits as sequences: the classic of long memory in recurrent networks."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from harness.data import sources
from harness.data.prepared import Content
from harness.data.read_idx import array
from harness.errors import Fault, UserError
from harness.late import np
from harness.tasks._prepared import PreparedTask
from harness.tasks.base import Examples, Shape, Split

VALID = 5_000
"""The last images of the training file are the validation split."""
FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
ORDER = 92916
"""Seed of the one permutation of `permuted`."""


class MNIST(PreparedTask):
    """Sequential MNIST: name a handwritten digit read pixel by pixel or row by row (many-to-one, accuracy).

    LeCun, Bottou, Bengio, Haffner 1998; as a sequence Le, Jaitly, Hinton, arXiv:1504.00941. 55,000 / 5,000 / 10,000
    images of 28 x 28: the test file is the test split, the last 5,000 of the training file validate. `steps` is 784
    (pixels), 28 (rows) or 1 (the whole image at once). `permuted` reads the pixels of all images in one fixed random
    order, so that what belongs together lies far apart; papers draw their own order, and none is canonical.
    """

    data: str = "mnist"
    steps: Literal[784, 28, 1] = 784
    permuted: bool = False

    sets: ClassVar = {"mnist": tuple(f"mnist/{file}" for file in FILES)}
    mapping: ClassVar = "many-to-one"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "accuracy"

    def prepare(self):
        images, labels, test_images, test_labels = found = [array(self._content(file), file) for file in FILES]
        wanted = [size for there in (images, test_images) for size in ((len(there), 28, 28), (len(there),))]
        faults = [
            Fault(f"size {there.shape}", where=f"{self.data}, {file}", allowed=f"{size}")
            for file, there, size in zip(FILES, found, wanted, strict=True)
            if there.shape != size
        ]
        if len(images) <= VALID:
            faults.append(Fault(f"{len(images):,} images", where=f"{self.data}, {FILES[0]}", allowed=f"over {VALID:,}"))
        if faults:
            raise UserError(faults)
        cut = len(images) - VALID
        parts: dict[Split, tuple[np.ndarray, np.ndarray]] = {
            "train": (images[:cut], labels[:cut]),
            "valid": (images[cut:], labels[cut:]),
            "test": (test_images, test_labels),
        }
        splits = {split: self._read(*part) for split, part in parts.items()}
        commonest = np.bincount(labels[:cut]).argmax()
        shape = Shape(steps=self.steps, features=784 // self.steps, outputs=10)
        return Content(shape, float((test_labels == commonest).mean()), splits, {})

    def _content(self, file: str) -> bytes:
        """A file of the data set, or the one of its name in a folder of the user's own (Fashion-MNIST has them)."""
        if not self.own:
            return sources.read("mnist", file)
        path = Path(self.data).expanduser() / file
        if not path.is_file():
            raise UserError(Fault("no such file", where=str(path), allowed=", ".join(FILES), remedy="gunzip the files"))
        return path.read_bytes()

    def _read(self, images: np.ndarray, labels: np.ndarray) -> Examples:
        pixels = images.reshape(len(images), 784)
        if self.permuted:
            pixels = pixels[:, np.random.default_rng(ORDER).permutation(784)]
        inputs = pixels.reshape(len(images), self.steps, -1)
        return Examples(inputs, labels.astype(np.int8), np.full(len(images), self.steps, np.int16), scale=1 / 255)
