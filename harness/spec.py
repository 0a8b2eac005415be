"""A benchmark file into a Benchmark: a question and its trials, every fault of the file reported at once.

    question: Which cell learns the longest sum?
    name: sums                          # optional: the file's name without .yaml
    seeds: 3                            # 0, 1, 2; or a list
    set: {examples: 10000}              # settings of every trial; a list sweeps
    match: parameters                   # optional: solve the hidden sizes for one budget (harness/match.py)
    like_for_like: loop                 # optional: one kind of kernel for every cell, or fused (harness/draft.py)
    pack: auto                          # optional: trials of one shape as one program, or off, or K at most
    search: {kind: random, ...}         # optional: tries in a space instead of every point (harness/search/)
    sweep:                              # grids: each is the product of its lists, over `set`
      - task: {name: adding, length: [50, 100]}
        cell: [elman, gru, lstm]

Settings are the fields of `harness/trial.py`; a task or cell is a name, or {name, its settings}.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import match
from harness.claims import Claim, reading
from harness.config.grid import PLUGINS, Grid, Key, Reader, normalised
from harness.draft import MAX_TRIALS, Sweep, read
from harness.errors import Fault, UserError
from harness.match import Matched
from harness.record import Record
from harness.search import Search, Study, drawn, early, note, turn, whole_id
from harness.trial import Trial, key_of


@dataclass(frozen=True)
class Benchmark:
    """A question and the trials that answer it, in the order in which they run.

    Of a search whose tries are not foreseen they are its beginnings: `studies` say which; see `asks_for`.
    """

    name: str
    question: str
    path: Path
    trials: tuple[Trial, ...]
    overridden: bool = False
    claims: tuple[Claim, ...] = ()
    matched: tuple[Matched, ...] = ()
    search: Search | None = None
    studies: tuple[Study, ...] = ()
    pack: str = "off"  # which trials train as one program where the command does not say; of a trial it decides nothing

    @property
    def known(self) -> tuple[Trial, ...]:
        """The trials that run whatever a search finds out."""
        begun = {t.id for study in self.studies if not study.search.foreseen for t in study.begins}
        if not begun:
            return self.trials
        return tuple(trial for trial in self.trials if trial.id not in begun)

    @property
    def size(self) -> int:
        """How many trials it has, once its searches are over."""
        return len(self.known) + sum(study.budget for study in self.studies if not study.search.foreseen)

    @property
    def notes(self) -> dict[str, str]:
        """Trial id -> what its record says of its search, of tries that are known before anything runs."""
        searched = [study for study in self.studies if study.search.foreseen]
        return {trial.id: study.note(number) for study in searched for number, trial in enumerate(study.tries)}

    def answered(self, records: Iterable[Record]) -> list[Record]:
        """Return the records that answer this benchmark, each trial once for every machine: those of its own trials, in
        order, then the tries that its searches decided on. One that another search stopped early answers nothing."""
        place = {trial.id: number for number, trial in enumerate(self.known)}
        budgets = {study.base.id: study.budget for study in self.studies if not study.search.foreseen}
        digest, found = self.search.digest if self.search else "", {}
        for record in records:
            said = note(record)
            tried = said.get("search") == digest and int(said.get("try", 0)) < budgets.get(str(said.get("study")), 0)
            own, stopped = whole_id(record), record.status == "stopped"
            counts = (own in place or tried) and (not stopped or record.trial_id == early(own, digest))
            name = (record.fingerprint, own if own in place else record.trial_id)
            if counts and (name not in found or not stopped):
                found[name] = record
        return sorted(found.values(), key=lambda record: (place.get(whole_id(record), len(place)), turn(record)))

    def asked(self, records: Iterable[Record]) -> tuple[Trial, ...]:
        """Return the trials that are to be reported: all that are known by now."""
        decided = {whole_id(record): record.trial for record in records}
        more = decided.keys() - {trial.id for trial in self.known}
        return (*self.known, *(Trial.from_canonical(decided[trial_id]) for trial_id in sorted(more)))

    @property
    def report_name(self) -> str:
        """File name of the report. Records are shared; a report of other settings never replaces the plain one."""
        if not self.overridden:
            return self.name
        about = [*sorted(trial.id for trial in self.trials), self.search.digest if self.search else ""]
        digest = hashlib.sha256("".join(about).encode())
        return f"{self.name}-set-{digest.hexdigest()[:6]}"


def load(path: str | Path, overrides: Sequence[str] = ()) -> Benchmark:
    """Return the benchmark in a file with `key=value` overrides applied; UserError carries every fault found."""
    draft = read(path, overrides)
    reader = draft.reader
    studies: list[Study] = []
    trials = [_expand(sweep, reader, studies) if draft.ready else None for sweep in draft.sweeps]
    of_claims = trials[len(trials) - len(draft.claims) :]
    claims = [_claim(part, own, reader, at) for (part, at), own in zip(draft.claims, of_claims, strict=True)]
    if reader.faults:
        raise UserError(reader.found())
    distinct = {trial.id: trial for own in trials for trial in own or ()}
    matched = tuple(kind for sweep in draft.sweeps for kind in sweep.matched)
    search = next((sweep.search for sweep in draft.sweeps if sweep.search), None)
    about = (draft.name, draft.question, Path(path), tuple(distinct.values()), draft.overridden)
    return Benchmark(*about, tuple(claims), matched, search, tuple(studies), draft.pack)


def _claim(part: dict[str, Any], trials: tuple[Trial, ...] | None, reader: Reader, key: Key) -> Claim:
    """Return a claim with its trials and checks; None: its sweep is at fault."""
    source, text = (reading.text(part, name, reader, key) for name in ("source", "claim"))
    return Claim(text, source, trials or (), reading.checks(part, trials, reader, key))


def _expand(sweep: Sweep, reader: Reader, studies: list[Study]) -> tuple[Trial, ...] | None:
    """Return the distinct trials: seed by seed, so that a sweep that stops early has seen each variant. None: there is
    a fault, noted now or before. `matched` is filled with what each kind of match made, `studies` with the searches."""
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
    space = sweep.search.space if sweep.search else {}
    for grid in whole:  # what is searched has the middle of the space, until a try says more
        grid.choices |= {name: [part.at(0.5)] for name, part in space.items()}
    points = [(grid, list(grid.points(faults))) for grid in whole]
    if len(faults) > before or len(sound) < len(sweep.grids):
        return None
    found = (each for grid, written in points for each in _variants(grid, written, faults, sweep.matched))
    variants = {trial.canonical(): (trial, written) for trial, written in found}
    if len(faults) > before:
        return None
    seeds = sweep.seeds or (0,)
    if sweep.search is None:
        return tuple(trial.seeded(seed) for seed in seeds for trial, _ in variants.values())
    where = reader.where(("search", "space"))
    studies += drawn.studies(sweep.search, list(variants.values()), seeds, faults, where)
    for held in sweep.matched:
        fits = {_key(trial): held.fits.get(_key(study.base)) for study in studies for trial in study.tries}
        held.fits.update({key: fit for key, fit in fits.items() if fit})
    return None if len(faults) > before else drawn.in_order(studies)


def _key(trial: Trial) -> str:
    return key_of(trial.model_dump(mode="json"))


def _variants(
    grid: Grid, points: Sequence[Trial], faults: list[Fault], matched: Sequence[Matched]
) -> Iterator[tuple[Trial, Trial]]:
    """Yield the variants of a grid, normalised and as they are written; or those that each kind of match makes of them.
    This looks at the data, for their sizes."""
    before = len(faults)
    written = [(trial, point) for point in points if (trial := normalised(point, grid.where, faults))]
    if not matched or len(faults) > before:
        yield from written
    for kind in matched:
        for key, (trial, fit) in match.solve([t for t, _ in written], kind.match, faults, grid.where).items():
            kind.fits[key] = fit
            yield trial, trial
