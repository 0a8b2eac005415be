"""Stability maps: share lost, horizon and score over BPTT length and clip, a panel for each cell and learning rate."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from harness.report.columns import horizon
from harness.report.looks import Plot, short
from harness.report.svg import INK, MUTED, draw
from harness.report.table import Row, TaskGroup
from harness.report.words import number, phrase, setting_value
from harness.trial import CLIPPING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 12
DIVERGED = "#0a0b07"
"""The last colour of the page's series, left to what went wrong."""
Tile = tuple[Any, Any]


def maps(group: TaskGroup) -> Plot | None:
    """A tile for each BPTT length and clip: the darker, the more seeds diverged; inside: lost seeds, horizon, score."""
    panels = {name: tiles for name, tiles in _panels(group).items() if _is_plane(tiles)}
    if not panels:
        return None
    names = list(panels)[:MOST_PANELS]
    across = sorted({tile[1] for name in names for tile in panels[name]}, key=_last_none)
    up = sorted({tile[0] for name in names for tile in panels[name]}, key=_last_none)
    wide, high = 1.0 * len(across) + 0.3, 0.62 * len(up) + 0.45
    columns = max(1, min(len(names), int(7.6 // wide)))
    lines = -(-len(names) // columns)

    def paint(figure: Figure, axes: Axes) -> None:
        axes.remove()
        for place, name in enumerate(names, 1):
            panel = figure.add_subplot(lines, columns, place)
            _paint(panel, panels[name], across, up)
            panel.set_title(short(name, 34), fontsize=9)
            if (place - 1) % columns:
                panel.set_yticklabels([])

    caption = (
        "One panel a cell; BPTT length upwards, clip to the right. A tile is the fuller, the more of its seeds were "
        "lost; inside stand lost / all seeds, the horizon in steps and the median score. Read off it where "
        "training is safe, and whether a clip or a shorter window is what makes it so."
    )
    caption += f" The first {MOST_PANELS} of {len(panels)} panels." if len(panels) > MOST_PANELS else ""
    svg = draw(wide * columns + 0.8, high * lines + 0.35, f"Stability maps on {group.name}", paint)
    return Plot("Stability maps", caption, svg)


def _panels(group: TaskGroup) -> dict[str, dict[Tile, Row]]:
    """Panel -> (BPTT length, clip) -> the row there; what else differs, the learning rate first, makes panels."""
    found: dict[str, dict[Tile, Row]] = defaultdict(dict)
    rest = [key for key in group.differing if key != "bptt_length" and key not in CLIPPING]
    for row in group.rows:
        own = row.variant
        told = [phrase(key, own.settings[key]) for key in rest if own.telling(key)]
        found[" · ".join([own.cell, *told])].setdefault((own.settings.get("bptt_length"), _clip(own.settings)), row)
    return found


def _clip(settings: dict[str, Any]) -> Any:
    """What a map has to the right: the limit of whatever kind of clipping is set."""
    return next((settings[name] for name in CLIPPING if settings.get(name) is not None), None)


def _is_plane(tiles: dict[Tile, Row]) -> bool:
    return len({tile[0] for tile in tiles}) > 1 and len({tile[1] for tile in tiles}) > 1


def _last_none(value: Any) -> float:
    return math.inf if value is None else float(value)


def _paint(axes: Axes, tiles: dict[Tile, Row], across: list[Any], up: list[Any]) -> None:
    from matplotlib.patches import Rectangle

    for (window, clip), row in tiles.items():
        x, y = across.index(clip), up.index(window)
        ends = row.statuses
        lost, stored = ends["diverged"] + ends["failed"], len(row.records)
        axes.add_artist(Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, fill=False, edgecolor=MUTED, linewidth=0.6))
        axes.add_artist(  # no patch, of which hundreds would each be asked for the limits that are set below
            Rectangle((x - 0.47, y - 0.46), 0.94, 0.92 * lost / stored, color=DIVERGED, alpha=0.35, linewidth=0)
        )
        score = "lost" if math.isinf(row.score.center) else number(row.score.center, row.metric.format)
        inside = axes.text(x, y, f"{lost}/{stored} lost\nh {horizon(row.horizon)}\n{score}", ha="center", va="center",
                           fontsize=6.8, color=INK, linespacing=1.05)  # fmt: skip
        inside.set_in_layout(False)  # it lies in its tile: measuring hundreds of them would take seconds
    axes.set_xlim(-0.55, len(across) - 0.45)
    axes.set_ylim(-0.55, len(up) - 0.45)
    axes.set_xticks(range(len(across)), ["none" if clip is None else f"{clip:g}" for clip in across])
    axes.set_yticks(range(len(up)), [setting_value("bptt_length", window) for window in up])
    axes.grid(False)
    axes.tick_params(length=0)
