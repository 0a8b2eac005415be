"""A benchmark file into a Benchmark: a question and its trials, every fault of the file reported at once.

    question: Which cell learns the longest sum?
    name: sums                          # optional: the file's name without .yaml
    seeds: 3                            # 0, 1, 2; or a list
    set: {examples: 10000}              # settings of every trial; a list sweeps
    match: parameters                   # optional: solve the hidden sizes for one budget (harness/match.py)
    like_for_like: loop                 # optional: one kind of kernel for every cell, or fused (harness/draft.py)
    sweep:                              # grids: each is the product of its lists, over `set`
      - task: {name: adding, length: [50, 100]}
        cell: [elman, gru, lstm]

Settings are the fields of `harness/trial.py`; a task or cell is a name, or {name, its settings}.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import match
from harness.claims import Claim, reading
from harness.draft import MAX_TRIALS, Sweep, read
from harness.errors import Fault, UserError
from harness.grid import PLUGINS, Grid, Key, Reader, normalised
from harness.match import Matched
from harness.trial import Trial


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
    draft = read(path, overrides)
    reader = draft.reader
    trials = [_expand(sweep, reader) if draft.ready else None for sweep in draft.sweeps]
    of_claims = trials[len(trials) - len(draft.claims) :]
    claims = [_claim(part, own, reader, at) for (part, at), own in zip(draft.claims, of_claims, strict=True)]
    if reader.faults:
        raise UserError(reader.found())
    distinct = {trial.id: trial for own in trials for trial in own or ()}
    matched = tuple(kind for sweep in draft.sweeps for kind in sweep.matched)
    return Benchmark(
        draft.name, draft.question, Path(path), tuple(distinct.values()), draft.overridden, tuple(claims), matched
    )


def _claim(part: dict[str, Any], trials: tuple[Trial, ...] | None, reader: Reader, key: Key) -> Claim:
    """Return a claim with its trials and checks; None: its sweep is at fault."""
    source, text = (reading.text(part, name, reader, key) for name in ("source", "claim"))
    return Claim(text, source, trials or (), reading.checks(part, trials, reader, key))


def _expand(sweep: Sweep, reader: Reader) -> tuple[Trial, ...] | None:
    """Return the distinct trials: seed by seed, so that a sweep that stops early has seen each variant. None: there is
    a fault, noted now or before. `matched` is filled with what each kind of match made."""
    faults, size = reader.faults, sweep.size()
    before, sound = len(faults), [grid for grid in sweep.grids if grid.sound]
    for grid in sound:
        for kind in PLUGINS:
            if kind not in grid.choices:
                faults.append(Fault(f"no {kind}", grid.where, f"a {kind} in the grid or in `set`"))
    whole = [grid for grid in sound if all(kind in grid.choices for kind in PLUGINS)]
    if size > MAX_TRIALS:
        faults.append(Fault(f"{size:,} trials", reader.where(("sweep",)), f"at most {MAX_TRIALS:,} in one benchmark"))
        return None
    points = [(grid, list(grid.points(faults))) for grid in whole]
    if len(faults) > before or len(sound) < len(sweep.grids):
        return None
    found = (trial for grid, written in points for trial in _variants(grid, written, faults, sweep.matched))
    variants = {trial.canonical(): trial for trial in found}
    if len(faults) > before:
        return None
    seeds = sweep.seeds or (0,)
    return tuple(trial.model_copy(update={"seed": seed}) for seed in seeds for trial in variants.values())


def _variants(grid: Grid, points: Sequence[Trial], faults: list[Fault], matched: Sequence[Matched]) -> Iterator[Trial]:
    """Yield the variants of a grid: as they are written, or those that each kind of match makes of them. This looks at
    the data, for their sizes."""
    before = len(faults)
    written = [trial for point in points if (trial := normalised(point, grid.where, faults))]
    if not matched or len(faults) > before:
        yield from written
    for kind in matched:
        for key, (trial, fit) in match.solve(written, kind.match, faults, grid.where).items():
            kind.fits[key] = fit
            yield trial
