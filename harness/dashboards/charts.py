"""Charts that W&B has no panel for, in Vega-Lite: each once with its data in it, once as a template for W&B."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness import redact
from harness.record import Record
from harness.tracking.runs import POINTS, place
from harness.trial import Trial

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"


@dataclass(frozen=True)
class Chart:
    """A chart. `fields`: what the spec calls a value, and W&B's key of it; `query`: what W&B looks up in each run;
    `encode`: the spec, given how a field is named; `rows`: its data, from records."""

    name: str
    title: str
    fields: dict[str, str]
    query: dict[str, Any]
    encode: Callable[[Callable[[str], str]], dict[str, Any]]
    rows: Callable[[Sequence[Record]], list[dict[str, Any]]] = field(repr=False)

    def with_data(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the spec with its data in it."""
        return {"$schema": SCHEMA, "title": self.title, "data": {"values": rows}} | self.encode(lambda name: name)

    def template(self) -> dict[str, Any]:
        """Return the spec as W&B fills it: its fields by name."""
        spec = self.encode(lambda name: f"${{field:{name}}}")
        return {"$schema": SCHEMA, "title": self.title, "data": {"name": "wandb"}} | spec


def _by_lag(records: Sequence[Record]) -> list[dict[str, Any]]:
    """One row a run and lag: |dL/dstate|, thinned, zeros and what is no number left out, for the colour is a log."""
    rows = []
    for record in records:
        run = redact.text(Trial.from_canonical(record.trial).label)
        pairs = list(zip(record.gradient_lags, record.gradient_by_lag, strict=True))
        stride = max(1, math.ceil(len(pairs) / POINTS))
        rows += [{"run": run, "lag": a, "gradient": g} for a, g in pairs[::stride] if math.isfinite(g) and g > 0]
    return rows


def _heat(name: Callable[[str], str]) -> dict[str, Any]:
    scale = {"type": "log", "scheme": "viridis"}
    return {
        "mark": "rect",
        "encoding": {
            "x": {"field": name("lag"), "type": "ordinal", "title": "lag (steps back from the loss)"},
            "y": {"field": name("run"), "type": "nominal", "title": None},
            "color": {"field": name("gradient"), "type": "quantitative", "scale": scale, "title": "|dL/dstate|"},
        },
    }


def _ends(records: Sequence[Record]) -> list[dict[str, Any]]:
    """One row a run: where it stands on the map, and how it ended."""
    return [place(record) | {"status": record.status} for record in records]


def _map(name: Callable[[str], str]) -> dict[str, Any]:
    share = {
        "calculate": f"datum['{name('status')}'] === 'diverged' || datum['{name('status')}'] === 'failed' ? 1 : 0",
        "as": "lost",
    }
    by = [name(each) for each in ("cell", "bptt", "clip")]
    mean = {"aggregate": [{"op": "mean", "field": "lost", "as": "share"}], "groupby": by}
    return {
        "transform": [share, mean],
        "mark": "rect",
        "encoding": {
            "column": {"field": by[0], "type": "nominal", "title": None},
            "x": {"field": by[2], "type": "nominal", "title": "clip"},
            "y": {"field": by[1], "type": "nominal", "title": "BPTT length"},
            "color": {
                "field": "share", "type": "quantitative", "title": "share of trials not ok",
                "scale": {"domain": [0, 1], "scheme": "reds"},
            },
        },
    }  # fmt: skip


CHARTS = (
    Chart(
        "gradient-by-lag", "Gradient by lag: how much of the loss's gradient arrives how many steps back",
        {"lag": "lag", "gradient": "gradient_by_lag", "run": "name"},
        {"history": {"keys": ["lag", "gradient_by_lag"]}}, _heat, _by_lag,
    ),
    Chart(
        "stability-map", "Stability map: share of trials that did not end well, by BPTT length and clipping",
        {"cell": "cell", "status": "status", "bptt": "bptt", "clip": "clip"},
        {"summary": {"keys": ["cell", "status", "bptt", "clip"]}}, _map, _ends,
    ),
)  # fmt: skip
