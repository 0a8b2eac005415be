"""Pairs of texts: read from a user's TSV, or split where no split is canonical."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from harness.data.own import files
from harness.errors import Fault, UserError
from harness.tasks.base import SPLITS, Split

Row = TypeVar("Row")
MOST_FAULTS = 20


def split_of(key: str) -> Split:
    """90, 5 and 5 of 100 for training, validation and test, by a hash of the key alone."""
    share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 20
    return "train" if share < 18 else "valid" if share == 18 else "test"


def own_pairs(data: str) -> dict[Split, list[tuple[str, str]]]:
    """Read `source<TAB>target` lines: of a folder train.tsv, valid.tsv and test.tsv; or of one file, split then by the
    hash of the source, so that equal sources stay together. UserError names each line that is wrong."""
    if Path(data).expanduser().is_dir():
        named = {split: Path(data).expanduser() / f"{split}.tsv" for split in SPLITS}
        missing = [path for path in named.values() if not path.is_file()]
        if missing:
            raise UserError(Fault(f"no {path.name}", where=data, allowed="train.tsv, valid.tsv, test.tsv, or one file")
                            for path in missing)  # fmt: skip
        return {split: read_rows(path, pair) for split, path in named.items()}
    pairs: dict[Split, list[tuple[str, str]]] = {split: [] for split in SPLITS}
    for path in files(data):
        for texts in read_rows(path, pair):
            pairs[split_of(texts[0])].append(texts)
    return pairs


def pair(line: str) -> tuple[str, str]:
    """Return the two texts of a line with one tab; ValueError where there is another number, or one is empty."""
    cells = [cell.strip() for cell in line.split("\t")]
    if len(cells) != 2:
        raise ValueError(f"{len(cells) - 1} tabs in {line[:40]!r}")
    if not all(cells):
        raise ValueError(f"an empty text in {line[:40]!r}")
    return cells[0], cells[1]


def json_object(line: str) -> dict[str, Any]:
    """Return the JSON object of a line; ValueError for anything else."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("no JSON: nested too deeply") from None
    if not isinstance(row, dict):
        raise ValueError(f"no JSON object in {line[:40]!r}")
    return row


def read_rows(path: Path, parse: Callable[[str], Row], allowed: str = "two texts and a tab between them") -> list[Row]:
    """Return what `parse` makes of each line that is not blank; UserError lists the first lines it refuses, by a
    ValueError, with file and line."""
    rows, faults = [], []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(Fault(f"not UTF-8: {error.reason} at byte {error.start}", where=str(path))) from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                rows.append(parse(line.rstrip("\r")))
            except ValueError as error:
                faults.append(Fault(str(error), where=f"{path}:{number}", allowed=allowed))
            except UserError as error:  # of a file that the line names
                faults += [Fault(f"{one.where}: {one.what}", f"{path}:{number}", one.allowed) for one in error.faults]
    if faults:
        more = [Fault(f"and {len(faults) - MOST_FAULTS:,} lines more")] if len(faults) > MOST_FAULTS else []
        raise UserError([*faults[:MOST_FAULTS], *more])
    return rows
