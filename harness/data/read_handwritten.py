"""The handwritten digits that come with scikit-learn, whose code is not run: importing it takes longer than a short
trial trains."""

from __future__ import annotations

import gzip
import importlib.util
from functools import cache
from pathlib import Path

from harness.late import np


@cache
def handwritten() -> tuple[np.ndarray, np.ndarray]:
    """Return images (1797, 8, 8) of values from 0 to 16, and their classes (1797,); read once in a process, and not to
    be written to.

    Alpaydin and Kaynak (1998), UCI Machine Learning Repository.
    """
    found = importlib.util.find_spec("sklearn")
    assert found is not None and found.submodule_search_locations, "pyproject.toml names scikit-learn"
    with gzip.open(Path(found.submodule_search_locations[0], "datasets", "data", "digits.csv.gz"), "rt") as file:
        rows = np.loadtxt(file, delimiter=",")
    images, classes = rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
    for array in (images, classes):
        array.flags.writeable = False
    return images, classes
