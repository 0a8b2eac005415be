"""Strict reading of a YAML file: plain data, the line of every key, and every fault of the file at once.

PyYAML scans and parses; the tree is built here, so that nothing in a file can make an object, expand without end or
change its meaning on the way. Allowed are text, whole and decimal numbers, true, false, null, lists, and mappings
with text as keys. A scalar means what it looks like: `no`, `12:30` and `2024-01-01` are text, and what looks like a
number but is text to some readers (`1e-3`, `010`, `1_000`) is refused instead of guessed.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.config import textfile
from harness.config.wording import dotted, plain, shown
from harness.errors import Fault, UserError

MAX_BYTES = 1_000_000
MAX_VALUES = 20_000
MAX_DEPTH = 20
MAX_FAULTS = 50

Key = tuple[str | int, ...]
Event = Any  # PyYAML's events share no typed base with marks
_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*|([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?)")
_EXPONENT = re.compile(r"([-+]?)([0-9]+)(\.[0-9]*)?[eE]([-+]?)([0-9]+)")
_NOT_FINITE = re.compile(r"[-+]?\.inf|\.nan", re.IGNORECASE)
_ODD = re.compile(r"[-+]?(0[xob][0-9a-f_]+|[0-9][0-9_]*(\.[0-9_]*)?(e[-+]?[0-9_]+)?)", re.IGNORECASE)
_CONSTANTS = {word: value for name, value in (("null", None), ("true", True), ("false", False))
              for word in (name, name.title(), name.upper())} | {"": None, "~": None}  # fmt: skip


@dataclass(frozen=True)
class Document:
    """Plain data, the line of each part, and the faults of single values: what stands at such a key means nothing."""

    source: str
    data: Any
    lines: dict[Key, int]
    faults: tuple[Fault, ...] = ()
    unread: frozenset[Key] = frozenset()
    text: str = ""

    def line(self, key: Key) -> int:
        """Line of a key or list element, counted from 1; of the nearest part around it where it is absent."""
        return self.lines.get(key, self.line(key[:-1]) if key else 1)

    def where(self, key: Key) -> str:
        """Place for a Fault: `benchmarks/x.yaml:7: sweep[0].hidden_size`."""
        return _place(self.source, self.line(key), key)


def read(path: str | Path) -> Document:
    """Return the document in a file with the faults of its values, or raise UserError where it cannot be read on."""
    source = plain(str(path))
    return _parsed(textfile.read(Path(path), source, MAX_BYTES), source)


def parse(text: str, source: str, python_numbers: bool = False) -> Document:
    """Return the document in a text, or raise UserError with every fault of it; `source` names it in them.

    `python_numbers` reads `1e-3` as Python does.
    """
    document = _parsed(text, source, python_numbers)
    if document.faults:
        raise UserError(document.faults)
    return document


def _parsed(text: str, source: str, python_numbers: bool = False) -> Document:
    builder = _Builder(source, python_numbers)
    try:
        root = builder.feed(text)
        return Document(source, root, builder.lines, tuple(builder.faults), frozenset(builder.unread), text)
    except yaml.MarkedYAMLError as error:
        builder.faults.append(_syntax_fault(error, source))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"a character that YAML does not allow: U+{error.character:04X}"
        builder.faults.append(Fault(what, _place(source, line), remedy="remove it, or write it in quotes as \\x.."))
    except _TooMuch:
        pass
    raise UserError(builder.faults)


def _place(source: str, line: int, key: Key = ()) -> str:
    return f"{source}:{line}: {dotted(key)}" if key else f"{source}:{line}"


def _syntax_fault(error: yaml.MarkedYAMLError, source: str) -> Fault:
    """Say a syntax error of PyYAML in one line, with line and column."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    words = " ".join(part for part in (error.problem, error.context) if part)
    remedy = "indent with spaces; YAML allows no tabs" if "'\\t'" in words else ""
    return Fault(f"not valid YAML (column {column}): {words}", _place(source, line), remedy=remedy)


class _TooMuch(Exception):
    """The file is beyond a limit: stop reading; the fault is noted."""


class _Builder:
    """Builds plain data from PyYAML's events and notes every fault on the way."""

    def __init__(self, source: str, python_numbers: bool) -> None:
        self.source = source
        self.python_numbers = python_numbers
        self.faults: list[Fault] = []
        self.lines: dict[Key, int] = {}
        self.unread: set[Key] = set()
        self.values = self.depth = 0

    def feed(self, text: str) -> Any:
        """Return the data of the one document in `text`."""
        events: Iterator[Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        root, documents = None, 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.refuse("a second document starts here", event, (), "one file, one benchmark: remove `---`")
                    raise _TooMuch
                root = self.value(events, next(events), ())
        return root

    def refuse(self, what: str, event: Event, key: Key, remedy: str = "") -> None:
        """Note a fault; after too many of them the rest would only be noise."""
        self.faults.append(Fault(what, _place(self.source, event.start_mark.line + 1, key), remedy=remedy))
        self.unread.add(key)
        if len(self.faults) >= MAX_FAULTS:
            raise _TooMuch

    def value(self, events: Iterator[Event], event: Event, key: Key) -> Any:
        """Return the value that starts with `event`, and everything in it."""
        self.lines.setdefault(key, event.start_mark.line + 1)
        self.values += 1
        if self.values > MAX_VALUES:
            self.refuse(f"more than {MAX_VALUES:,} values", event, ())
            raise _TooMuch
        if isinstance(event, yaml.AliasEvent):
            self.refuse(f"alias *{plain(str(event.anchor))}: aliases are not read", event, key, "write the value out")
            return None
        if event.anchor is not None:
            self.refuse(f"anchor &{plain(event.anchor)}: anchors are not read", event, key, "write the value out")
        if event.tag is not None:
            self.refuse(f"tag {plain(event.tag)}: tags are not read", event, key, "write plain values")
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event, key)
        self.depth += 1  # not len(key): keys that are themselves mappings nest too
        if self.depth > MAX_DEPTH:
            self.refuse(f"nested more than {MAX_DEPTH} levels deep", event, ())
            raise _TooMuch
        inner = self.mapping if isinstance(event, yaml.MappingStartEvent) else self.sequence
        result = inner(events, key)
        self.depth -= 1
        return result

    def sequence(self, events: Iterator[Event], key: Key) -> list[Any]:
        """Return a list, up to its end event."""
        result: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            result.append(self.value(events, event, (*key, len(result))))
        return result

    def mapping(self, events: Iterator[Event], key: Key) -> dict[str, Any]:
        """Return a mapping, up to its end event, without the keys that were refused."""
        result: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            name = self.value(events, event, key)
            inner = (*key, name) if isinstance(name, str) else key
            if not isinstance(name, str):
                self.refuse(f"a key must be text, not {shown(name)}", event, key, "put it in quotes, or remove it")
            elif name in result:
                what = f"duplicate key: it stands on line {self.lines[inner]} already"
                self.refuse(what, event, inner, "remove one of the two")
            else:
                self.lines[inner] = event.start_mark.line + 1
            value = self.value(events, next(events), inner)
            if isinstance(name, str):
                result.setdefault(name, value)
        return result

    def scalar(self, event: Event, key: Key) -> Any:
        """Return what a scalar looks like; refuse what only some readers take for a number."""
        text: str = event.value
        if event.style is not None:  # quoted, or a block: text
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _NOT_FINITE.fullmatch(text):
            self.refuse(f"{text} is not a finite number", event, key)
        elif _NUMBER.fullmatch(text) or (self.python_numbers and _number(text) is not None):
            number = _number(text)
            if number is None or not math.isfinite(number):
                self.refuse(f"{plain(text[:50])} is not a number of a sensible size", event, key)
            return number
        elif _ODD.fullmatch(text):
            what = f"{plain(text[:50])} is text, or another number, to some YAML readers"
            self.refuse(what, event, key, _respelt(text))
        return text


def _number(text: str) -> int | float | None:
    """Return the number that Python reads in `text`, if it is not absurdly long."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text) if len(text) <= 40 and text.isascii() else None
    return None


def _respelt(text: str) -> str:
    """Return the spelling of a number that every YAML reader takes for one, or advise quotes."""
    if match := _EXPONENT.fullmatch(text):
        sign, whole, fraction, exponent_sign, exponent = match.groups()
        return f"{sign}{whole}{(fraction or '.').ljust(2, '0')}e{exponent_sign or '+'}{exponent}"
    number = _number(text)
    return f"{number}, or '{text}' in quotes for text" if number is not None else f"'{plain(text[:50])}' in quotes"
