"""What a population remembers of its exchanges, so that one that is killed goes on from the last that all have made.

    <study>.<search>.population/
        <trial id>.json                      at which exchanges a trial was, and what it scored; sealed
        <try>-<evaluation>-<trial id>        the state there; of each try those of its last two exchanges

Nothing of the scheduler is kept. What a member is follows from its trial, whose `changes` tell all that befell it, and
what the scheduler draws follows from the file. So a population that begins again says at each exchange what it came to
before, without training; the same is decided again, and training goes on where nothing is remembered. A state that is
lost, damaged or of other code is made anew from the trial's first update: later, and the same to the bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from harness.launch.target import Target
from harness.record import Record
from harness.search import Study
from harness.storage import files
from harness.storage.sealed import seal
from harness.trial import Trial

if TYPE_CHECKING:
    from harness.training.guided import Beginning

SUFFIX = ".population"
KEPT = 2  # exchanges of which states are kept: where all stand, and where some have not yet come from


class Exchange(NamedTuple):
    """Where a member stood: updates made, its score, seconds so far, and the hash of its state."""

    updates: int
    score: float
    seconds: float
    sha256: str


class Lineage:
    """What is remembered of one trial of a population. `number`: of the try that trains it."""

    def __init__(self, target: Target, note: str, trial: Trial, every: int) -> None:
        told = json.loads(note)
        self.folder = target.store().folder / name_of(told["study"], told["search"])
        self.trial, self.number, self.every = trial, told["try"], every
        self.path = self.folder / f"{trial.id}.json"

    def known(self, bound: dict[str, str]) -> dict[int, Exchange]:
        """Return the exchanges of this trial, by evaluation, that were made under the same conditions; none where that
        cannot be read."""
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            found = json.loads(self.path.read_bytes())
            if found.pop("seal") == seal(found) and found["bound"] == bound:
                return {int(at): Exchange(*each) for at, each in found["exchanges"].items()}
        return {}

    def state(self, evaluation: int, sha256: str) -> bytes:
        """Return the state at an exchange, b"" where there is none that is whole: another try may have written it."""
        for path in self.folder.glob(f"[0-9]*-{evaluation}-{self.trial.id}"):
            with suppress(OSError):
                if hashlib.sha256(data := path.read_bytes()).hexdigest() == sha256:
                    return data
        return b""

    def add(self, here: Beginning, updates: int, score: float, seconds: float, bound: dict[str, str]) -> None:
        """Remember an exchange, before anybody hears of it; drop the states of this try that nobody needs any more. A
        disk that is full costs the memory and not the population."""
        (evaluation, state), known = here, self.known(bound)
        known[evaluation] = Exchange(updates, score, seconds, hashlib.sha256(state).hexdigest())
        told = {"bound": bound, "exchanges": {str(at): list(each) for at, each in sorted(known.items())}}
        try:
            files.make_folder(self.folder)
            files.replace(self.folder / f"{self.number}-{evaluation}-{self.trial.id}", state)
            files.replace(self.path, json.dumps(told | {"seal": seal(told)}).encode())
        except OSError as error:
            print(f"warning: trial {self.trial.id} is not remembered at evaluation {evaluation}: {error}", flush=True)
            return
        for path in self.folder.glob(f"{self.number}-*-*"):
            if int(path.name.split("-")[1]) <= evaluation - KEPT * self.every:
                with suppress(OSError):
                    path.unlink()

    def ended(self, record: Record, known: dict[int, Exchange]) -> bool:
        """Whether all is remembered that the trial of this record handed on before it ended."""
        heard = len(record.curve_valid_score) - (record.status == "ok")  # nobody hears of the evaluation at the end
        return max(known, default=0) >= heard // self.every * self.every


def name_of(study: str, search: str) -> str:
    """Return the name of the folder in which the population of a study remembers."""
    return f"{study}.{search}{SUFFIX}"


def forget(studies: Sequence[Study], target: Target) -> None:
    """Remove what populations remember of which every member has its record."""
    stores = target.stores() if studies else []
    places = [store.folder for store in stores if any(store.folder.glob(f"*{SUFFIX}"))]
    noted = target.searches() if places else set()
    for study in studies:
        if places and all(study.note(number) in noted for number in range(study.budget)):
            for place in places:
                files.remove_tree(place / name_of(study.base.id, study.search.digest))
