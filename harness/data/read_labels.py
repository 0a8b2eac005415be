"""Texts with a label each: a user's TSV or JSONL, and phrases of trees whose nodes carry labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from harness.data.own import files
from harness.data.read_pairs import json_object, read_rows, split_of
from harness.errors import Fault, UserError
from harness.tasks.base import SPLITS, Split

Row = TypeVar("Row")
Labelled = tuple[str, str]
"""A text and its label."""
ALSO = {"dev": "valid", "val": "valid", "validation": "valid"}
ALLOWED = 'a text, a tab and a label; in .jsonl {"text": ..., "label": ...}'


def own_rows(data: str, read: Callable[[Path], list[Row]], key: Callable[[Row], str]) -> dict[Split, list[Row]]:
    """Return what `read` makes of a user's files: files named train, valid (dev, val) and test are those splits;
    otherwise all rows are dealt out by a hash of their `key`, so that equal ones stay together.

    UserError where a split has no file or no row.
    """
    paths = files(data)
    named = {path: ALSO.get(path.stem.lower(), path.stem.lower()) for path in paths}
    stated = set(named.values()) & set(SPLITS)
    if stated and (missing := [split for split in SPLITS if split not in stated]):
        what = f"no file for {', '.join(missing)}"
        raise UserError(Fault(what, where=data, allowed="files named train, valid and test, or none so named"))
    rows: dict[Split, list[Row]] = {split: [] for split in SPLITS}
    for path in paths:
        for row in read(path) if not stated or named[path] in SPLITS else ():
            split = next(s for s in SPLITS if s == named[path]) if stated else split_of(key(row))
            rows[split].append(row)
    if empty := [split for split in SPLITS if not rows[split]]:
        where = "; the rows are dealt out by a hash of their text" if not stated else ""
        raise UserError(Fault(f"no row falls to {', '.join(empty)}{where}", where=data, allowed="at least one in each"))
    return rows


def own_labelled(data: str) -> dict[Split, list[Labelled]]:
    """Return a user's labelled texts by split: lines of text, tab, label, or of JSON with "text" and "label".

    UserError names each line that is wrong, and each label that the training split lacks.
    """
    rows = own_rows(data, lambda path: read_rows(path, _json if path.suffix == ".jsonl" else _line, ALLOWED), _text)
    known = {label for _, label in rows["train"]}
    strange = {(split, label) for split, pairs in rows.items() for _, label in pairs if label not in known}
    if len(known) < 2:
        raise UserError(Fault(f"one label, {next(iter(known))!r}, is no question", where=f"{data}, training split"))
    if strange:
        allowed = ", ".join(sorted(known)[:20])
        raise UserError(Fault(f"label {label!r} is not in the training split", where=f"{data}, {split} split",
                              allowed=allowed) for split, label in sorted(strange))  # fmt: skip
    return rows


def _text(row: Labelled) -> str:
    return row[0]


def _line(line: str) -> Labelled:
    cells = [cell.strip() for cell in line.split("\t")]
    if len(cells) != 2 or not all(cells):
        what = f"{len(cells)} columns" if len(cells) != 2 else f"an empty {'label' if cells[0] else 'text'}"
        raise ValueError(f"{what} in {line[:40]!r}")
    return cells[0], cells[1]


def _json(line: str) -> Labelled:
    row = json_object(line)
    text, label = row.get("text"), row.get("label")
    if not (isinstance(text, str) and text.strip() and isinstance(label, str | int) and str(label).strip()):
        raise ValueError(f"no text or no label in {line[:40]!r}")
    return text.strip(), str(label).strip()


def tree_phrases(line: str) -> Iterator[tuple[list[str], int]]:
    """Yield words and label of every phrase of a tree like `(3 (2 A) (4 (4 fine) (2 film)))`, the whole one last."""
    stack: list[tuple[int, list[str]]] = []
    for token in re.findall(r"\(\d+|\)|[^()\s]+", line):
        if token[0] == "(":
            stack.append((int(token[1:]), []))
        elif token == ")":
            label, words = stack.pop()
            yield words, label
            if stack:
                stack[-1][1].extend(words)
        else:
            stack[-1][1].append(token)


def letters(words: Sequence[str]) -> str:
    """What makes two texts the same whatever their tokens: letters and digits, in lower case."""
    return "".join(c for word in words for c in word.lower() if c.isalnum())
