"""A benchmark file into a Benchmark: a question and its trials, every fault of the file reported at once.

    question: Which cell learns the longest sum?
    name: sums                          # optional: the file's name without .yaml
    seeds: 3                            # 0, 1, 2; or a list
    set: {examples: 10000}              # settings of every trial; a list sweeps
    match: parameters                   # optional: solve the hidden sizes for one budget (harness/match.py)
    sweep:                              # grids: each is the product of its lists, over `set`
      - task: {name: adding, length: [50, 100]}
        cell: [elman, gru, lstm]

Settings are the fields of `harness/trial.py`; a task or cell is a name, or {name, its settings}.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field as Limits

from harness import claimfile, match, yamlfile
from harness.claims import Claim
from harness.errors import Fault, UserError
from harness.grid import PLUGINS, Grid, Key, Reader
from harness.match import Matched
from harness.override import Override, read_all
from harness.trial import Trial
from harness.wording import Field, shown
from harness.yamlfile import Document

MAX_TRIALS = 100_000
KEYS = ("question", "name", "seeds", "set", "match", "sweep", "claims")
SLUG = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9_-])?")
SLUG_WORDS = "1 to 64 of a-z, 0-9, '.', '_' and '-', the first a letter or digit, the last no '.'"

_SEED_COUNT = Field(Annotated[int, Limits(ge=1, le=MAX_TRIALS)])
_SEED = Field(Annotated[int, Limits(ge=0, lt=2**32)])


@dataclass(frozen=True)
class Benchmark:
    """A question and the trials that answer it, in the order in which they run."""

    name: str
    question: str
    path: Path
    trials: tuple[Trial, ...]
    overridden: bool = False
    claims: tuple[Claim, ...] = ()
    matched: tuple[Matched, ...] = ()

    @property
    def report_name(self) -> str:
        """File name of the report. Records are shared; a report of other settings never replaces the plain one."""
        if not self.overridden:
            return self.name
        digest = hashlib.sha256("".join(sorted(trial.id for trial in self.trials)).encode())
        return f"{self.name}-set-{digest.hexdigest()[:6]}"


def load(path: str | Path, overrides: Sequence[str] = ()) -> Benchmark:
    """Return the benchmark in a file with `key=value` overrides applied; UserError carries every fault found."""
    document = yamlfile.read(path)
    faults: list[Fault] = []
    given = read_all(overrides, faults)
    misread = len(faults)
    reader = Reader(document.where, faults)
    if document.data is None:
        reader.refuse("the file is empty", (), "a question and a sweep", "see benchmarks/quick.yaml")
        raise UserError(faults)
    top = reader.mapping(document.data, (), f"a mapping with the keys {', '.join(KEYS)}")
    _known(top, KEYS, reader)
    name = _name(top, Path(path), reader, given)
    question = _question(top, reader) if top else ""
    seeds = _seeds(top.get("seeds", 1), reader, ("seeds",))
    swept = bool(top) and ("claims" not in top or top.get("sweep") is not None)
    sweeps = [_grids(top, KEYS, document, reader, top.get("set"))] if swept else []
    matched = tuple(Matched(kind, {}) for kind in match.read(top.get("match", []), reader, ("match",)))
    parts = _parts(top, reader)
    sweeps += [_grids(part, claimfile.KEYS, document, reader, top.get("set"), at) for part, at in parts]
    seeded = [seeds] * bool(swept) + [
        _seeds(part["seeds"], reader, (*at, "seeds")) if "seeds" in part else seeds for part, at in parts
    ]
    typed = len(faults)
    for override in given:
        if override.key == "seeds":
            seeded = [_seeds(override.value, Reader(override.where, faults), ())] * len(sweeps)
        override.apply([grid for grids in sweeps for grid in grids], faults)
    # an override at fault was to change every grid: what is wrong with them without it may not be wrong at all
    ready = not misread and len(faults) == typed
    trials = [
        _expand(grids, own, document, faults, matched if i < swept else ()) if ready else None
        for i, (grids, own) in enumerate(zip(sweeps, seeded, strict=True))
    ]
    of_claims = trials[len(trials) - len(parts) :]
    claims = [_claim(part, own, reader, at) for (part, at), own in zip(parts, of_claims, strict=True)]
    if faults:
        raise UserError(dict.fromkeys(faults))
    overridden = any(override.key != "name" for override in given)
    distinct = {trial.id: trial for own in trials for trial in own or ()}
    return Benchmark(name, question, Path(path), tuple(distinct.values()), overridden, tuple(claims), matched)


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
            _known(part, claimfile.KEYS, reader, at)
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
    slug = re.sub(r"[^a-z0-9_-]+", "-", str(name)[:64].lower()).strip("-_")
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


def _claim(part: dict[str, Any], trials: tuple[Trial, ...] | None, reader: Reader, key: Key) -> Claim:
    """Return a claim with its trials and checks; None: its sweep is at fault."""
    source, text = (claimfile.text(part, name, reader, key) for name in ("source", "claim"))
    return Claim(text, source, trials or (), claimfile.checks(part, trials, reader, key))


def _grids(
    top: dict[str, Any], keys: Sequence[str], document: Document, reader: Reader, shared: object, at: Key = ()
) -> list[Grid]:
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
        return [Grid(document.where((*at, "set")), common, sound and all(key in keys for key in top))]
    grids = []
    for part, key in reader.each(sweep, (*at, "sweep")):
        before = len(reader.faults)
        own = reader.settings(part, key)
        grids.append(Grid(document.where(key), common | own, sound and len(reader.faults) == before))
    return grids


def _expand(
    grids: list[Grid], seeds: Sequence[int], document: Document, faults: list[Fault], matched: Sequence[Matched]
) -> tuple[Trial, ...] | None:
    """Return the distinct trials: seed by seed, so that a sweep that stops early has seen each variant. None: there is
    a fault, noted now or before. `matched` is filled with what each kind of match made."""
    before, sound = len(faults), [grid for grid in grids if grid.sound]
    for grid in sound:
        for kind in PLUGINS:
            if kind not in grid.choices:
                faults.append(Fault(f"no {kind}", grid.where, f"a {kind} in the grid or in `set`"))
    whole = [grid for grid in sound if all(kind in grid.choices for kind in PLUGINS)]
    size = sum(grid.size() for grid in whole) * max(1, len(seeds)) * max(1, len(matched))
    if size > MAX_TRIALS:
        faults.append(Fault(f"{size:,} trials", document.where(("sweep",)), f"at most {MAX_TRIALS:,} in one benchmark"))
        return None
    variants = {trial.canonical(): trial for grid in whole for trial in _variants(grid, faults, matched)}
    if len(faults) > before or len(sound) < len(grids):
        return None
    return tuple(trial.model_copy(update={"seed": seed}) for seed in seeds or (0,) for trial in variants.values())


def _variants(grid: Grid, faults: list[Fault], matched: Sequence[Matched]) -> Iterator[Trial]:
    """Yield the variants of a grid: as they are written, or those that each kind of match makes of them."""
    written, before = list(grid.variants(faults)), len(faults)
    if not matched or len(faults) > before:
        yield from written
    for kind in matched:
        for key, (trial, fit) in match.solve(written, kind.match, faults, grid.where).items():
            kind.fits[key] = fit
            yield trial
