"""Numbers and names as a reader sees them: one place, so that no two formats can disagree."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from harness.metrics import METRICS, Metric
from harness.stats import Summary

NONE = "–"  # noqa: RUF001  an en dash: nothing to show, or a setting that cannot matter
SHOWN = {"bptt_length": "BPTT", "bptt_stride": "BPTT stride", "clip_norm": "clip"}
"""Short names of settings; every other one is its field's name with spaces."""
NULL = {"bptt_length": "whole", "bptt_stride": "window", "clip_norm": "none"}
"""What `null` means for a setting, and "none" for every other; only these are worth telling apart from a table."""


def clean(text: object) -> str:
    """Return text on one line without control or direction-changing characters: names and reasons come from users."""
    odd = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    spaced = " ".join(str(text).split())
    if spaced.isascii() and spaced.isprintable():  # as good as every text is
        return spaced
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in odd else c for c in spaced)


def verbatim(text: object) -> str:
    """Return text with its lines and spaces, without other control or direction-changing characters."""
    odd = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    shown = str(text).replace("\t", "    ")
    kept = (c if c == "\n" or unicodedata.category(c) not in odd else "\N{REPLACEMENT CHARACTER}" for c in shown)
    return "".join(kept)


def metric_of(name: str) -> Metric:
    """Return the metric of that name, or a plain one where this version does not know it."""
    return METRICS.get(name) or Metric(clean(name), clean(name) or "score", "", "", ".4g", "score on the test split")


def number(value: float, form: str) -> str:
    """Format by a METRICS format; never "0" for what is not zero, never "100 %" for what is less."""
    if math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if form.endswith("%"):
        text = format(value, form)
        if value and float(text.rstrip("%")) == 0:
            return "< 1 %"
        return "> 99 %" if value < 1 and float(text.rstrip("%")) == 100 else text.replace("%", " %")
    text = format(value, form)
    return format(value, ".2g") if value and float(text.replace(",", "")) == 0 else text


def percent(share: float) -> str:
    """Format a coverage: 75 %, 93.8 %, 96.9 %."""
    return f"{100 * share:.3g} %"


def interval(score: Summary, form: str, lost: str = "lost") -> str:
    """Format `0.912 [0.880, 0.931]`; an infinite end is a trial that was lost: `0.880 [diverged, 0.931]`."""
    if not score.n:
        return NONE
    center, low, high = (lost if math.isinf(v) else number(v, form) for v in (score.center, score.low, score.high))
    return center if score.n == 1 else f"{center} [{low}, {high}]"


def doubt(score: Summary) -> str:
    """Say what the interval beside a median is worth, in a few words: `3 seeds, 75 %`."""
    return {0: NONE, 1: "1 seed, none"}.get(score.n, f"{score.n} seeds, {percent(score.confidence)}")


def sentence(score: Summary) -> str:
    """Say the same in words: "median of 3 seeds [min, max], covers the median with 75 %"."""
    if score.n < 2:
        return "one seed: no interval" if score.n else "no trial"
    widest = 1 - 2 * 0.5**score.n
    ends = "[min, max]" if score.confidence == widest else "with an interval between two of the values"
    return f"median of {score.n} seeds {ends}, covers the median with {percent(score.confidence)}"


def arrow(higher_is_better: bool) -> str:
    """Return the direction of a metric as an arrow: up where higher is better."""
    return "↑" if higher_is_better else "↓"


def direction(higher_is_better: bool) -> str:
    """Return the direction of a metric in words."""
    return "higher is better" if higher_is_better else "lower is better"


def setting_title(key: str) -> str:
    """Return a setting's name as a header: `BPTT`, `clip`, `learning rate`, `activation` for `cell.activation`."""
    return SHOWN.get(key) or clean(key.removeprefix("cell.").removeprefix("task.").replace("_", " "))


def setting_value(key: str, value: object) -> str:
    """Return a setting's value as a reader sees it."""
    if value is None:
        return NULL.get(key, "none")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):  # of changes on the way
        told = (", ".join(f"{clean(k)} {clean(v)}" for k, v in change.items()) for change in value)
        return clean(" | ".join(told)) or "none"
    return _told(value) if isinstance(value, int | float) else clean(value)


@lru_cache(maxsize=4096, typed=True)
def _told(value: float) -> str:
    """A number of a setting: a grid has few, in very many variants."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)  # unlike values never look alike


def phrase(key: str, value: object) -> str:
    """Return a setting with its value: `BPTT 16`, `clip none`, `activation relu`."""
    return f"{setting_title(key)} {setting_value(key, value)}"


def listing(items: Iterable[str], most: int = 6) -> str:
    """Join names by semicolons, and count the rest where there are many."""
    names = list(items)
    return "; ".join(names[:most]) + (f"; and {len(names) - most} more" if len(names) > most else "")


def plural(count: int, noun: str) -> str:
    """Return `1 trial`, `2 trials`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def in_lines(rows: list[dict[str, str]]) -> list[str]:
    """Return samples as lines of plain text, a blank one between two samples."""
    out: list[str] = []
    for row in rows:
        out += [""] if out else []
        for part, text in row.items():
            first, *more = text.split("\n")
            out += [f"{part:<6}  {first}".rstrip(), *(f"        {line}".rstrip() for line in more)]
    return out


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> Iterator[str]:
    """Yield rows as lines of equal columns: the first `left` columns flush left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            text.ljust(width) if index < left else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def duration(seconds: float) -> str:
    """Return a time in words of one unit: `40 seconds`, `3 minutes`, `2.5 hours`."""
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.2g} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
