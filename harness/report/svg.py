"""Matplotlib figures as inline SVG that takes its colours from the page, so that one drawing is right in both themes.

Drawn without pyplot, hence without global state. Colours are stand-ins that become CSS variables; text stays text.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#0a0a0a", "#0a0a0b", "#0a0a0c"
SERIES = tuple(f"#0a0b{i:02x}" for i in range(8))
_PAGE = {INK: "currentColor", MUTED: "var(--muted)", GRID: "var(--grid)"}
_PAGE |= {stand_in: f"var(--series-{i})" for i, stand_in in enumerate(SERIES)}

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "harness", "text.parse_math": False, "font.family": "DejaVu Sans",
    "font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": MUTED, "xtick.color": MUTED,
    "ytick.color": MUTED, "xtick.labelcolor": INK, "ytick.labelcolor": INK, "grid.color": GRID, "axes.grid": True,
    "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    "legend.fontsize": 8, "lines.linewidth": 1.6, "figure.facecolor": "none", "axes.facecolor": "none",
    "savefig.facecolor": "none", "axes.unicode_minus": False, "grid.linewidth": 0.6,
}  # fmt: skip


def rate(value: float, _: object = None) -> str:
    """Return a rate as a tick says it, so that ten of them stand side by side: 250 k, 1.5 M, 1 G."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g}"


@contextmanager
def drawing() -> Iterator[None]:
    """Inside, matplotlib draws in our style; names that its font lacks are left to the browser's fonts."""
    import matplotlib

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        yield


def draw(width: float, height: float, alt: str, paint: Callable[[Figure, Axes], None]) -> Markup:
    """Return the SVG of one figure; `width` and `height` in inches, `alt` for who cannot see it."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    paint(figure, figure.add_subplot())
    out = io.StringIO()
    FigureCanvasSVG(figure)
    layout = figure.get_layout_engine()
    assert layout
    layout.execute(figure)  # by itself: savefig would draw everything twice for it
    figure.set_layout_engine("none")
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(out.getvalue(), alt)


def _inline(svg: str, alt: str) -> Markup:
    """Cut the XML prologue and metadata, colour by variables, make ids unique and give the drawing a name."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"#0a0[ab][0-9a-f]{2}", lambda m: _PAGE.get(m[0], m[0]), body)
    body = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", body)
    prefix = f"f{hashlib.sha256(body.encode()).hexdigest()[:8]}-"  # ids on one page must differ
    body = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{prefix}", body)
    head = re.match(r"<svg[^>]*>", body)
    assert head, "matplotlib wrote no svg element"
    box = re.search(r'viewBox="([^"]*)"', head[0])
    assert box, "matplotlib wrote no viewBox"
    width = box[1].split()[2]
    size = f"width: {float(width) * 4 / 3:.0f}px"
    opening = f'<svg viewBox="{box[1]}" role="img" aria-label="{escape(alt)}" style="{size}">'
    return Markup(opening + body[head.end() :])
