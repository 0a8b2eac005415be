"""Texts and what people wrote to them: abstracts with their summaries, and dialogues; published ones, or a user's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from harness.data import sources
from harness.data.read_labels import own_rows
from harness.data.read_pairs import json_object, pair, read_rows
from harness.data.read_subwords import plain
from harness.tasks.base import SPLITS, Split

Row = TypeVar("Row")
Answered = tuple[str, list[str]]
"""A text, and each right answer to it."""
Dialogue = list[str]
"""Turns, two or more."""
SIDES = ("source", "target")
PAIRS = 'a text, a tab and its summary; in .jsonl {"source": ..., "target": ...}, each a text or a list of texts'
TURNS = 'turns with a tab between them, two or more; in .jsonl {"turns": [...]}'


def scitldr() -> dict[Split, list[Answered]]:
    """SciTLDR-A (Cachola et al., Findings of EMNLP 2020): an abstract, and summaries of one sentence."""
    files = dict(zip(SPLITS, ("train", "dev", "test"), strict=True))
    return {split: [answered(line) for line in _lines("scitldr", f"{name}.jsonl")] for split, name in files.items()}


def self_dialogue() -> dict[Split, list[Dialogue]]:
    """Self-dialogue corpus (Fainberg et al., arXiv:1809.06641); each dialogue says which split it is in."""
    found: dict[Split, list[Dialogue]] = {split: [] for split in SPLITS}
    for line in _lines("self_dialogue", "dialogues.jsonl"):
        found[json_object(line)["split"]].append(turns(line))
    return found


def _lines(name: str, file: str) -> list[str]:
    return [line for line in sources.read(name, file).decode().split("\n") if line]


def own_answered(data: str) -> dict[Split, list[Answered]]:
    """Return a user's texts and summaries; UserError names each line that is wrong. Equal texts fall to one split."""
    return _own(data, answered, _tabbed, PAIRS, lambda row: row[0])


def own_dialogues(data: str) -> dict[Split, list[Dialogue]]:
    """Return a user's dialogues; UserError names each line that is wrong. Dialogues that differ in their last turn
    alone fall to one split."""
    return _own(data, turns, _spoken, TURNS, lambda row: "\n".join(row[:-1]))


def _own(
    data: str, of_json: Callable[[str], Row], of_tabs: Callable[[str], Row], allowed: str, key: Callable[[Row], str]
) -> dict[Split, list[Row]]:
    def read(path: Path) -> list[Row]:
        return read_rows(path, of_json if path.suffix == ".jsonl" else of_tabs, allowed)

    return own_rows(data, read, key)


def answered(line: str) -> Answered:
    """Return the "source" and "target" of a line of JSON: a source in several sentences is one text, several targets
    are as many right answers."""
    row = json_object(line)
    source, target = (_texts([row[name]] if isinstance(row.get(name), str) else row.get(name), name) for name in SIDES)
    return plain(" ".join(source)), [plain(text) for text in target]


def turns(line: str) -> Dialogue:
    """Return the "turns" of a line of JSON."""
    return _two([plain(text) for text in _texts(json_object(line).get("turns"), "turns")])


def _texts(found: object, name: str) -> list[str]:
    if not isinstance(found, list) or not found or not all(isinstance(text, str) for text in found):
        raise ValueError(f'no text in "{name}"')
    return found


def _tabbed(line: str) -> Answered:
    source, target = map(plain, pair(line))
    return source, [target]


def _spoken(line: str) -> Dialogue:
    return _two([plain(cell) for cell in line.split("\t")])


def _two(found: Dialogue) -> Dialogue:
    if len(found) < 2:
        raise ValueError(f"one turn, and no answer to it: {found[0][:40]!r}")
    return found
