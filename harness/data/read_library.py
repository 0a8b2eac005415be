"""The source code of this Python's standard library as a text: real data that is always there.

Split by file: a fixed hash of a file's path decides its split and its place, so the text differs between Python
versions, and a record's `data_sha256` says which it was.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import Fault, UserError
from harness.tasks.base import Split

if TYPE_CHECKING:
    import numpy as np

ALPHABET = "\t\n" + "".join(map(chr, range(32, 127)))
"""Known symbols, 1 to 97. 0 stands for any other character, and for one that the training split lacks."""
SHARES: dict[Split, float] = {"train": 0.8, "valid": 0.1, "test": 0.1}
LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "encodings", "pydoc_data"}
"""Folders of the standard library: tests, what is installed beside it, and tables and texts that are not code."""
SYMBOLS = len(ALPHABET) + 1


def unigram_bits(characters: int, joined: bool) -> float:
    """Bits per character of the test split under the frequencies of single characters in the training split, each count
    plus 1, so that a character which the training split lacks is not infinitely surprising. A document's first
    character is never due."""
    import numpy as np

    due = {split: [text[1:] for text in symbols(split, characters, joined)] for split in ("train", "test")}
    train, test = np.concatenate(due["train"]), np.concatenate(due["test"])
    counts = np.bincount(train, minlength=SYMBOLS) + 1
    return float(-np.log2(counts / counts.sum())[test].mean())


def symbols(split: Split, characters: int, joined: bool) -> list[np.ndarray]:
    """Return the documents of a split as symbols; those that the training split lacks are 0."""
    import numpy as np

    number = {character: i for i, character in enumerate(ALPHABET, 1)}
    seen = set().union(*texts("train", characters, joined))
    known = {ord(character): number[character] if character in seen else 0 for character in ALPHABET}
    table = np.zeros(128, np.int64)
    table[list(known)] = list(known.values())
    codes = [np.frombuffer(text.encode("utf-32-le"), np.uint32) for text in texts(split, characters, joined)]
    return [np.where(code < 128, table[np.minimum(code, 127)], 0) for code in codes]


def texts(split: Split, characters: int, joined: bool) -> list[str]:
    """Return whole documents up to the split's share of `characters`, the last one cut; one, if they are joined."""
    left = round(characters * SHARES[split])
    found = []
    for path in _files()[split]:
        if left > 0:
            found.append(path.read_text(encoding="utf-8", errors="replace")[:left])
            left -= len(found[-1])
    if left > 0:
        have = round(characters * SHARES[split]) - left
        what = f"characters: {characters:,}, but the {split} split of this Python's library has {have:,}"
        allowed = f"1,000 to about {int(have / SHARES[split]):,}"
        raise UserError(Fault(what, allowed=allowed, remedy="characters: 1000000"))
    found = [text for text in found if len(text) > 1]
    return ["".join(found)] if joined else found


@cache
def _files() -> dict[Split, list[Path]]:
    """Return the library's source files by split, in the order of a hash of their path within it."""
    import os
    import sysconfig

    root = Path(sysconfig.get_paths()["stdlib"])
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in LEFT_OUT and not name.startswith("config-")]
        for path in (Path(folder, name) for name in names if name.endswith(".py")):
            # _sysconfigdata is written when Python is built, and differs from machine to machine
            if path.stat().st_size > 1 and not path.name.startswith("_sysconfigdata"):
                found.append((hashlib.sha256(path.relative_to(root).as_posix().encode()).hexdigest(), path))
    splits: dict[Split, list[Path]] = {"train": [], "valid": [], "test": []}
    for digest, path in sorted(found):
        splits["test" if digest[-1] in "01" else "valid" if digest[-1] in "23" else "train"].append(path)
    return splits
