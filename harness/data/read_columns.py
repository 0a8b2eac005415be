"""Sentences in columns: a word a line with its tag, a blank line behind each sentence (CoNLL, CoNLL-U)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.data.read_labels import own_rows
from harness.data.read_pairs import MOST_FAULTS
from harness.errors import Fault, UserError
from harness.tasks.base import Split

Sentence = tuple[list[str], list[str]]
"""Words and their tags."""
LONGEST = 1_000
"""Words of a sentence: where there are more, blank lines are missing."""
BIO = re.compile(r"O|[BI]-\S+")


def conll(line: str) -> tuple[str, str] | None:
    """Word, the first column, and tag, the last one. A word may begin with "#", so no line is a comment."""
    cells = line.split("\t") if "\t" in line else line.split()
    if len(cells) < 2 or not (cells[0].strip() and cells[-1].strip()):
        raise ValueError(f"no word and tag in {line[:40]!r}")
    return cells[0].strip(), cells[-1].strip()


def conllu(line: str) -> tuple[str, str] | None:
    """Word and UPOS of a line of ten columns; None for a comment, for the range of a token of several words (1-2),
    whose words follow, and for an empty node (1.1), which is not in the text."""
    if line.startswith("#"):
        return None
    cells = line.split("\t")
    if len(cells) != 10:
        raise ValueError(f"{len(cells)} columns, not 10, in {line[:40]!r}")
    if not re.fullmatch(r"\d+([-.]\d+)?", cells[0]):
        raise ValueError(f"no word number: {cells[0]!r}")
    if not cells[0].isdecimal():
        return None
    if cells[1] == "" or cells[3] in ("", "_"):
        raise ValueError(f"no word and UPOS in {line[:40]!r}")
    return cells[1], cells[3]


def bio(line: str) -> tuple[str, str] | None:
    """As `conll`, the tag being O, B-type or I-type."""
    pair = conll(line)
    if pair is not None and not BIO.fullmatch(pair[1]):
        raise ValueError(f"tag {pair[1]!r} is not O, B-type or I-type")
    return pair


Parse = Callable[[str], tuple[str, str] | None]


def sentences(lines: Iterable[str], parse: Parse, where: str, allowed: str) -> list[Sentence]:
    """Return the sentences of a file; UserError lists the first lines that `parse` refuses, with file and line."""
    found: list[Sentence] = [([], [])]
    faults = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            found += [([], [])] if found[-1][0] else []
            continue
        try:
            pair = parse(line.rstrip("\r\n"))
        except ValueError as error:
            faults.append(Fault(str(error), where=f"{where}:{number}", allowed=allowed))
            continue
        if pair is not None:
            found[-1][0].append(pair[0])
            found[-1][1].append(pair[1])
            if len(found[-1][0]) == LONGEST + 1:
                what = f"a sentence of more than {LONGEST:,} words"
                faults.append(Fault(what, where=f"{where}:{number}", allowed="a blank line behind each sentence"))
    if faults:
        more = [Fault(f"and {len(faults) - MOST_FAULTS:,} lines more")] if len(faults) > MOST_FAULTS else []
        raise UserError([*faults[:MOST_FAULTS], *more])
    return [sentence for sentence in found if sentence[0]]


def own_sentences(data: str, parse: Parse, allowed: str) -> dict[Split, list[Sentence]]:
    """Return a user's tagged sentences by split; `.conllu` files are read as such, whatever `parse` is.

    UserError names each line that is wrong, and each tag that the training split lacks.
    """

    def read(path: Path) -> list[Sentence]:
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise UserError(Fault(f"not UTF-8: {error.reason} at byte {error.start}", where=str(path))) from None
        universal = path.suffix == ".conllu"
        return sentences(lines, conllu if universal else parse, str(path), "ten columns" if universal else allowed)

    rows = own_rows(data, read, lambda sentence: " ".join(sentence[0]))
    known = {tag for _, tags in rows["train"] for tag in tags}
    if len(known) < 2:
        raise UserError(Fault(f"one tag, {next(iter(known))!r}, is no question", where=f"{data}, training split"))
    strange = {(split, tag) for split, found in rows.items() for _, tags in found for tag in tags if tag not in known}
    if strange:
        raise UserError(Fault(f"tag {tag!r} is not in the training split", where=f"{data}, {split} split",
                              allowed=", ".join(sorted(known)[:60])) for split, tag in sorted(strange))  # fmt: skip
    return rows
