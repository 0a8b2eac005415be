"""Entities of a tagged sentence, by the rules of the CoNLL shared tasks."""

from __future__ import annotations

from collections.abc import Sequence

Entity = tuple[str, int, int]
"""Type, first word, and the word behind the last."""


def entities(tags: Sequence[str]) -> list[Entity]:
    """Return the entities of tags O, B-type and I-type as conlleval reads them (Tjong Kim Sang, Buchholz, CoNLL-2000).

    One begins at B, and at I where no entity of that type goes on; it ends before the next O, B or other type.
    """
    found: list[Entity] = []
    kind, begin = "", 0
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        goes_on = prefix == "I" and name == kind
        if kind and not goes_on:
            found.append((kind, begin, place))
        if not goes_on:
            kind, begin = name if prefix in "BI" else "", place
    return found


def matches(answer: Sequence[str], due: Sequence[str]) -> tuple[int, int, int]:
    """Return how many entities are right, type and both ends, how many are marked, and how many are due."""
    marked, wanted = set(entities(answer)), set(entities(due))
    return len(marked & wanted), len(marked), len(wanted)


def f1(right: float, marked: float, due: float) -> float:
    """Harmonic mean of precision and recall; 0 where nothing is marked and nothing due."""
    return 2 * right / (marked + due) if marked + due else 0.0
