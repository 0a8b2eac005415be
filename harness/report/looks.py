"""How variants are told apart in every figure of a task: colour by cell, dashes by BPTT length, markers by the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.report.svg import MUTED, SERIES
from harness.report.table import Row, TaskGroup
from harness.report.words import NONE, phrase, setting_value

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

_DASHES: list[Any] = ["-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3))]
_MARKERS = ["", "o", "s", "^", "D", "v", "P", "X"]
MOST_ENTRIES = 8  # of each list in a legend

Entry = tuple[str, dict[str, Any]]
"""A name and how matplotlib draws its line."""


@dataclass(frozen=True)
class Plot:
    """A drawing and what to read off it."""

    title: str
    caption: str
    svg: Markup


@dataclass(frozen=True)
class Looks:
    """How variants are told apart: colour by cell, dashes by BPTT length, markers by the rest."""

    colors: dict[str, str]
    dashes: dict[str, Any]
    markers: dict[str, str]
    differing: list[str]

    def of(self, row: Row) -> dict[str, Any]:
        """Return matplotlib's settings of a row's line."""
        window = row.variant.shown("bptt_length")
        look = {"color": self.colors[row.variant.cell], "linestyle": self.dashes.get(window, "-")}
        return look | {"marker": self.markers[rest(row, self.differing)], "markersize": 4, "markerfacecolor": "none"}


def looks_of(group: TaskGroup, cells: Sequence[str]) -> Looks:
    """Give every cell a colour, every BPTT length a dash (whole: solid), and every other difference a marker.

    More differences than markers get none: a marker that means two things tells less than the table.
    """
    windowed = [row.variant for row in group.rows if row.variant.shown("bptt_length") != NONE]
    windows = {variant.settings["bptt_length"] for variant in windowed}
    ordered = sorted(windows, key=lambda w: -math.inf if w is None else -w)
    named = [setting_value("bptt_length", window) for window in ordered]
    others = sorted({rest(row, group.differing) for row in group.rows})
    markers = _MARKERS if len(others) <= len(_MARKERS) else [""] * len(others)
    return Looks(
        {cell: SERIES[i % len(SERIES)] for i, cell in enumerate(cells)},
        {name: _DASHES[i % len(_DASHES)] for i, name in enumerate(named)},
        dict(zip(others, markers, strict=False)),
        group.differing,
    )


def rest(row: Row, differing: list[str]) -> str:
    """Name what cell and BPTT length do not tell about a variant."""
    keys = [key for key in differing if key != "bptt_length" and row.variant.telling(key)]
    return ", ".join(phrase(key, row.variant.settings[key]) for key in keys)


def short(label: str, most: int = 60) -> str:
    """Cut a name that would leave no room for the drawing."""
    return label if len(label) <= most else label[: most - 1] + "…"


def key(looks: Looks, rows: Sequence[Row]) -> list[list[Entry]]:
    """Return what colours, dashes and markers stand for, a list each: not every combination of them."""
    cells = {row.variant.cell for row in rows}
    windows = {row.variant.shown("bptt_length") for row in rows} - {NONE, "whole" if len(looks.dashes) == 1 else ""}
    others = {rest(row, looks.differing) for row in rows}
    told = any(looks.markers.values()) and len(others - {""}) > 1
    found = [
        [(name, {"color": color, "linewidth": 3}) for name, color in looks.colors.items() if name in cells],
        [(f"BPTT {name}", {"linestyle": dash}) for name, dash in looks.dashes.items() if name in windows],
        [(name, {"marker": mark}) for name, mark in looks.markers.items() if told and name and name in others],
    ]
    more = [[(f"and {len(group) - MOST_ENTRIES} more", {"color": "none"})] for group in found]
    return [group[:MOST_ENTRIES] + more[i] * (len(group) > MOST_ENTRIES) for i, group in enumerate(found) if group]


def key_lines(groups: list[list[Entry]]) -> int:
    """Return how many lines the legend of a key has: one column a list, or one line for colours alone."""
    return max(map(len, groups)) if len(groups) > 1 else -(-len(groups[0]) // 4)


def legend(figure: Figure, groups: list[list[Entry]]) -> None:
    """Draw a key below the axes."""
    from matplotlib.lines import Line2D

    lines, blank = key_lines(groups), [(" ", {"color": "none"})]
    padded = [group + blank * (lines - len(group)) for group in groups] if len(groups) > 1 else groups
    plain: dict[str, Any] = {"color": MUTED, "markerfacecolor": "none"}
    handles = [Line2D([], [], label=short(name, 40), **(plain | look)) for group in padded for name, look in group]
    columns = len(groups) if len(groups) > 1 else min(4, len(groups[0]))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
