"""A benchmark file as it is read: its question, grids and seeds, before a trial is made or any data looked at."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field as Limits

from harness import match, redact
from harness.claims import reading
from harness.config import yamlfile
from harness.config.grid import Grid, Key, Reader
from harness.config.override import Override, read_all
from harness.config.wording import Field, plain, shown
from harness.config.yamlfile import Document
from harness.errors import Fault, UserError
from harness.match import Matched
from harness.search import Search
from harness.search import reading as searching

MAX_TRIALS = 100_000
KEYS = ("question", "name", "seeds", "set", "match", "like_for_like", "pack", "sweep", "search", "claims")
SLUG = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9_-])?")
SLUG_WORDS = "1 to 64 of a-z, 0-9, '.', '_' and '-', the first a letter or digit, the last no '.'"

_SEED_COUNT = Field(Annotated[int, Limits(ge=1, le=MAX_TRIALS)])
_KERNEL = Field(Literal["loop", "fused"])
_PACK = Field(Annotated[int, Limits(ge=2, le=4_096)] | Literal["auto", "off"])
_SEED = Field(Annotated[int, Limits(ge=0, lt=2**32)])


@dataclass(frozen=True)
class Sweep:
    """The grids of the file's own sweep or of one claim's, their seeds, what is held equal in them, and the search that
    decides on points (None: all points of the grids)."""

    grids: list[Grid]
    seeds: Sequence[int]
    matched: tuple[Matched, ...] = ()
    search: Search | None = None

    def size(self) -> int:
        """The number of points, of which some may turn out to be one trial."""
        tries = (self.search and self.search.tries) or 1
        return sum(grid.size() for grid in self.grids) * max(1, len(self.seeds)) * max(1, len(self.matched)) * tries


@dataclass(frozen=True)
class Draft:
    """What a file says with the overrides in place. Faults found so far are the reader's.

    `ready`: the grids mean what was written, so that trials can be made of them. The sweeps of claims come last.
    """

    reader: Reader
    name: str
    question: str
    sweeps: list[Sweep]
    claims: list[tuple[dict[str, Any], Key]]
    pack: str
    overridden: bool
    ready: bool

    def size(self) -> int:
        """Most trials that it can have."""
        return sum(sweep.size() for sweep in self.sweeps)


def read(path: str | Path, overrides: Sequence[str] = ()) -> Draft:
    """Return what a file says, with `key=value` overrides applied; every fault of it is noted."""
    document = yamlfile.read(path)
    faults = [*document.faults, *_secrets(document, overrides)]
    told = len(faults)
    given = read_all(overrides, faults)
    misread = len(faults) - told
    reader = Reader(document.where, faults, document.unread)
    if document.data is None:
        reader.refuse("the file is empty", (), "a question and a sweep", "see benchmarks/quick.yaml")
        raise UserError(faults)
    top = reader.mapping(document.data, (), f"a mapping with the keys {', '.join(KEYS)}")
    _known(top, KEYS, reader)
    name = _name(top, Path(path), reader, given)
    question = _question(top, reader) if top else ""
    sweeps, parts = _sweeps(top, reader)
    _like_for_like(top, [grid for sweep in sweeps for grid in sweep.grids], reader)
    typed = len(faults)
    for override in given:
        if override.key == "seeds":
            seeds = _seeds(override.value, Reader(override.where, faults), ())
            sweeps = [replace(sweep, seeds=seeds) for sweep in sweeps]
        override.apply([grid for sweep in sweeps for grid in sweep.grids], faults)
    for sweep in sweeps:
        if sweep.search:
            searching.conflicts(sweep.search, sweep.grids, bool(sweep.matched), reader)
    # an override at fault was to change every grid: what is wrong with them without it may not be wrong at all
    ready = not misread and len(faults) == typed
    overridden = any(override.key != "name" for override in given)
    return Draft(reader, name, question, sweeps, parts, _pack(top, reader), overridden, ready)


def _sweeps(top: dict[str, Any], reader: Reader) -> tuple[list[Sweep], list[tuple[dict[str, Any], Key]]]:
    """Return the sweep of the file, if it has one, and those of its claims; and the claims as they are written."""
    seeds, shared = _seeds(top.get("seeds", 1), reader, ("seeds",)), top.get("set")
    found = []
    swept = bool(top) and ("claims" not in top or top.get("sweep") is not None)
    grids = _grids(top, KEYS, reader, shared) if swept else []
    matched = tuple(Matched(kind, {}) for kind in match.read(top.get("match", []), reader, ("match",)))
    search = searching.read(top.get("search", "grid"), reader, ("search",))
    if swept:
        found.append(Sweep(grids, seeds, matched, search))
    elif "search" in top:
        reader.refuse("a search without a sweep: claims have grids of their own", ("search",), remedy="add a `sweep`")
    parts = _parts(top, reader)
    for part, at in parts:
        grids = _grids(part, reading.KEYS, reader, shared, at)
        own = _seeds(part["seeds"], reader, (*at, "seeds")) if "seeds" in part else seeds
        found.append(Sweep(grids, own))
    return found, parts


def _like_for_like(top: dict[str, Any], grids: Sequence[Grid], reader: Reader) -> None:
    """Run every cell on one kind of kernel, so that throughput compares cells: the loop that all have, or torch's
    fused kernels where all of these cells have one. A grid that names a kernel itself says another thing."""
    if "like_for_like" not in top:
        return
    value = top["like_for_like"]
    if fault := _KERNEL.fault(value):
        reader.refuse(fault[0], ("like_for_like",), fault[1])
        return
    for grid in grids:
        if "kernel" in grid.choices:
            what = "kernel: given beside like_for_like"
            reader.faults.append(Fault(what, grid.where, remedy="leave one of them out"))
        grid.choices["kernel"] = [value]


def _pack(top: dict[str, Any], reader: Reader) -> str:
    """Return which trials train as one program where the command does not say: auto, off, or K at most."""
    value = top.get("pack", "off")
    if fault := _PACK.fault(value):
        reader.refuse(fault[0], ("pack",), fault[1])
    return str(value)


def _secrets(document: Document, overrides: Sequence[str]) -> Iterator[Fault]:
    """Yield each line and override that holds a secret, comments as well: the file goes to clusters and its settings
    into records."""
    lines = [(f"{document.source}:{n}", line) for n, line in enumerate(document.text.splitlines(), 1)]
    for where, words in [*lines, *((f"--set {plain(text.partition('=')[0])}", text) for text in overrides)]:
        if what := redact.held(words):
            yield Fault(f"holds {what}", where, "nothing secret: a benchmark is shared", "take it out")


def _known(part: dict[str, Any], keys: Sequence[str], reader: Reader, at: Key = ()) -> None:
    """Note each key that is none."""
    for key in part:
        if key not in keys:
            reader.unknown("key", key, (*at, key), keys)


def _parts(top: dict[str, Any], reader: Reader) -> list[tuple[dict[str, Any], Key]]:
    """Return the claims of a file as they are written, with their keys; what is none is noted."""
    found = []
    for written, at in reader.each(top["claims"], ("claims",)) if "claims" in top else []:
        part = reader.mapping(written, at, "a claim: its sentence, sweep and checks")
        if isinstance(written, dict):
            _known(part, reading.KEYS, reader, at)
            found.append((part, at))
    return found


def _question(top: dict[str, Any], reader: Reader) -> str:
    question = top.get("question")
    text = " ".join(question.split()) if isinstance(question, str) else ""
    if not text or len(text) > 1_000 or not text.isprintable():
        what = f"got {shown(question)}" if "question" in top else "no question"
        reader.refuse(what, ("question",), "the question that this benchmark answers: up to 1,000 printable characters")
    return text


def _name(top: dict[str, Any], path: Path, reader: Reader, given: list[Override]) -> str:
    """Return the name that becomes a folder: a plain slug, so that it can name no other place."""
    name, where = top.get("name", path.stem), reader.where(("name",))
    for override in given:
        if override.key == "name":
            name, where = override.value, override.where(())
    if isinstance(name, str) and SLUG.fullmatch(name):
        return name
    plain = unicodedata.normalize("NFKD", str(name)[:64]).encode("ascii", "ignore").decode()  # without its accents
    slug = re.sub(r"[^a-z0-9_-]+", "-", plain.lower()).strip("-_")
    quoted = slug if isinstance(name, str) else f"'{slug}'"
    what = f"{shown(name)} cannot name a benchmark"
    reader.faults.append(Fault(what, where, SLUG_WORDS, f"name: {quoted}" if slug else ""))
    return ""


def _seeds(value: object, reader: Reader, key: Key) -> Sequence[int]:
    """Return the seeds: 0 .. n-1 for a number n, or the list as given."""
    before = len(reader.faults)
    if not isinstance(value, list):
        counts = reader.values(_SEED_COUNT, value, key)
        return range(counts[0]) if len(reader.faults) == before else ()
    seeds = reader.values(_SEED, value, key)
    if len(reader.faults) == before and len(set(seeds)) < len(seeds):
        twice = next(seed for index, seed in enumerate(seeds) if seed in seeds[:index])
        reader.refuse(f"seed {twice} stands in the list twice", key, "distinct seeds")
    return seeds


def _grids(top: dict[str, Any], keys: Sequence[str], reader: Reader, shared: object, at: Key = ()) -> list[Grid]:
    """Return the grids of `sweep`, each on top of the `set` of its claim and of the file; without one, `set` alone.

    A grid that is at fault says so, and so does one that stands where a misspelt key may have meant another.
    """
    before = len(reader.faults)
    common = reader.settings(shared, ("set",)) if shared is not None else {}
    if at and top.get("set") is not None:
        common |= reader.settings(top["set"], (*at, "set"))
    sound = len(reader.faults) == before
    sweep = top.get("sweep")
    if sweep is None:
        return [Grid(reader.where((*at, "set")), common, sound and all(key in keys for key in top))]
    grids = []
    for part, key in reader.each(sweep, (*at, "sweep")):
        before = len(reader.faults)
        own = reader.settings(part, key)
        grids.append(Grid(reader.where(key), common | own, sound and len(reader.faults) == before))
    return grids
