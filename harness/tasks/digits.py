"""Handwritten digits, read in order: real images that come with scikit-learn."""

from typing import ClassVar, Literal

from harness.tasks.base import Examples, Shape, Task

TRAIN, VALID = 1257, 180  # of 1,797; the other 360 are the test split


class Digits(Task):
    """Sequential digits: name the handwritten digit after reading its pixels one by one.

    1,797 images of 8 x 8 pixels, 10 classes (Alpaydin and Kaynak 1998, UCI; bundled with scikit-learn). No split is
    canonical: a fixed shuffle gives 1,257 / 180 / 360. `steps` reads the image by pixel (64), row (8) or whole (1).
    `shuffled` puts the steps of each image into an order of its own, which destroys the order and keeps the pixels.
    """

    steps: Literal[64, 8, 1] = 64
    shuffled: bool = False

    mapping: ClassVar = "many-to-one"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "accuracy"

    @property
    def shape(self):
        return Shape(steps=self.steps, features=64 // self.steps, outputs=10)

    def load(self, split, seed):
        import numpy as np

        from harness.data.read_handwritten import handwritten

        images, labels = handwritten()
        order = np.random.default_rng(0).permutation(len(images))
        part = {"train": order[:TRAIN], "valid": order[TRAIN : TRAIN + VALID], "test": order[TRAIN + VALID :]}[split]
        inputs = (images[part] / 16).astype(np.float32).reshape(len(part), self.steps, -1)
        if self.shuffled:
            places = np.random.default_rng([1, len(part)]).random(inputs.shape[:2]).argsort(1)
            inputs = np.take_along_axis(inputs, places[:, :, None], 1)
        return Examples(inputs, labels[part], np.full(len(part), self.steps))

    def floor(self):
        import numpy as np

        commonest = np.bincount(self.load("train", 0).targets).argmax()
        return float((self.load("test", 0).targets == commonest).mean())
