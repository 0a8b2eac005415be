"""`harness sample`: put something to a trained trial and see what it answers.

The record names task, model and weights; the model is built anew, given the weights, and asked: an example of the test
split, or what the user types. A stream that predicts its own input goes on from a prompt.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import DamagedStore, Fault, UserError
from harness.metrics import METRICS
from harness.report.words import in_lines, number, verbatim
from harness.storage import folder, store
from harness.storage.objects import Place, place
from harness.storage.store import SUFFIX, WEIGHTS

if TYPE_CHECKING:
    import numpy as np

    from harness.record import Record
    from harness.tasks.base import Examples, Task
    from harness.training.module import RecurrentModule

LENGTH = 200  # steps that a stream is continued by
GRID = 16  # pictures drawn where nobody says how many


@dataclass(frozen=True)
class Request:
    """What the user asks for; None: not said."""

    input: str | None = None
    prompt: str | None = None
    index: int | None = None
    length: int | None = None
    temperature: float | None = None
    seed: int | None = None
    count: int | None = None
    beam_width: int | None = None
    out: Path | None = None


def sampled(named: str, results: Place, request: Request) -> Iterator[str]:
    """Yield the lines that `harness sample` prints. Raises UserError for what cannot be asked of this trial, and
    DamagedStore where record or weights cannot be trusted."""
    path = find(named, results)
    record = store.read_file(path)
    module, loaded = trained(record, path, request)
    task = module.task
    _check(task, request)
    told, got = _asked(module, loaded, request)
    if request.out is not None:
        _write(task, request.out, got)
    metric = METRICS[record.metric]
    score = number(record.score, metric.format)
    yield verbatim(f"{record.task}, {record.cell}, trial {record.trial_id}: {metric.title} {score}")
    if request.out is not None:
        yield f"wrote {request.out}"
    for given, wanted, answer in told:
        told_row = {"given": given, "wanted": wanted, "got": answer}
        yield ""
        yield from in_lines([{name: verbatim(text) for name, text in told_row.items() if text is not None}])


def find(named: str, results: Place) -> Place:
    """Return the file of a record, by its path or the beginning of its trial's id. Raises UserError."""
    given = place(named)
    record = given.with_suffix(SUFFIX) if given.name else given  # "" and "." name nothing
    if given.is_file() or record.stem in folder.places(record.parent):
        return record
    remedy = "harness run FILE trains one; `ls results/*/*/*.parquet` names those that are stored"
    found = store.find(results, named) if "/" not in named else []
    if not found:
        raise UserError(
            Fault(f"no record {named!r}", where=str(results), allowed="a path, or a trial's id", remedy=remedy)
        )
    if len(found) > 1:
        some = ", ".join(map(str, found[:5])) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        raise UserError(Fault(f"{len(found)} records fit {named!r}", allowed=some, remedy=f"harness sample {found[0]}"))
    return found[0]


def trained(record: Record, path: Place, request: Request) -> tuple[RecurrentModule, Examples]:
    """Return the trained model of a record with the test split. Raises UserError where weights or data are not there,
    DamagedStore where the weights are not those of the record."""
    from pydantic import ValidationError

    from harness.data.splits import data_hash
    from harness.models import weights
    from harness.tasks.base import SPLITS
    from harness.training.module import RecurrentModule
    from harness.trial import Trial

    if record.status != "ok":
        raise UserError(Fault(f"trial {record.trial_id} {record.status}: nothing was trained", where=str(path)))
    file = path.with_suffix(WEIGHTS)
    if not file.exists():
        remedy = f"rm '{path}', then `harness run` its benchmark ({record.benchmark}) without --no-weights"
        raise UserError(Fault("the weights of this trial were not kept", where=str(file), remedy=remedy))
    try:
        trial = Trial.from_canonical(record.trial)
        task, cell = trial.build_task(), trial.build_cell()
    except ValidationError as error:
        raise UserError(
            Fault(f"this harness cannot build the trial: {error.errors()[0]['msg']}", where=str(path))
        ) from None
    data = {split: task.load(split, trial.seed) for split in SPLITS}
    if not trial.shuffled_targets and data_hash(data) != record.data_sha256:
        what = "the data are not those that this trial was trained on: files, Python or the harness changed since"
        raise UserError(Fault(what, where=str(path), remedy=f"rm '{path}', then run its benchmark again"))
    module = RecurrentModule(trial.model_copy(update=_decoding(request)), task, cell)
    try:
        weights.restore(module.model, file.read_bytes(), record.weights_sha256)
    except ValueError as error:
        raise DamagedStore(
            f"{file} {error}\n  try: rm '{file}' '{path}'; its benchmark then repeats that trial"
        ) from None
    return module, data["test"]


def _decoding(request: Request) -> dict[str, Any]:
    return {} if request.beam_width is None else {"beam_width": request.beam_width}


def _check(task: Task, request: Request) -> None:
    """Raise UserError for everything that is not asked of this task, all at once."""
    from harness.training.samples import continues

    name, stream, faults = task.plugin_name(), continues(task), []
    of_streams = ["prompt", "length", "temperature", "seed", "count"]
    idle = {
        f"task {name!r} does not go on from what it reads": [] if stream else of_streams,
        f"task {name!r} writes nothing step by step": [] if task.written else ["beam_width"],
        f"task {name!r} goes on from a prompt": ["index"] if stream else [],
    }  # fmt: skip
    for why, settings in idle.items():
        given = [f"--{name.replace('_', '-')}" for name in settings if getattr(request, name) is not None]
        faults += [Fault(f"{option}: {why}", remedy=f"leave {option} out") for option in given]
    sources = [f"--{name}" for name in ("input", "prompt", "index") if getattr(request, name) is not None]
    if len(sources) > 1:
        faults.append(Fault(f"{' and '.join(sources)}: given together", allowed="one of them"))
    out = request.out
    if out is not None:
        if not task.writes:
            faults.append(
                Fault(f"--out: answers of task {name!r} are words, which go into no file", remedy="leave --out out")
            )
        elif out.suffix != task.writes:
            faults.append(
                Fault(f"--out: {out}", allowed=f"*{task.writes}", remedy=f"--out {out.with_suffix(task.writes)}")
            )
        elif out.exists():
            faults.append(
                Fault("--out: this file exists, and stays", where=str(out), remedy=f"rm '{out}', or another name")
            )
        elif not out.absolute().parent.is_dir():
            faults.append(Fault("--out: no such folder", where=str(out.parent), remedy=f"mkdir -p '{out.parent}'"))
    if faults:
        raise UserError(faults)


Told = tuple[str, str | None, str]
"""What was given, wanted (None: nobody knows) and got."""


def _asked(module: RecurrentModule, test: Examples, request: Request) -> tuple[list[Told], list[np.ndarray]]:
    """Return what to tell of each answer, and the answers themselves."""
    import numpy as np

    from harness.training import samples

    task = module.task
    if samples.continues(task):
        return _continued(module, test, request)
    right: Sequence[str | None]
    if request.input is not None:
        examples, index, right = task.ask(request.input), np.arange(1), [None]
    else:
        examples, index = test, _index(request.index, len(test))
        right = samples.wanted(task, test, index)
    got = samples.answers(module, examples, index)
    given = [samples.given(examples, int(i)) for i in index]
    return [
        (task.told(one), want, task.shown(one, answer)) for one, want, answer in zip(given, right, got, strict=True)
    ], got


def _index(given: int | None, count: int) -> np.ndarray:
    """The example that is asked for, or a few that are spread over the split."""
    import numpy as np

    from harness.training import samples

    if given is not None and not 0 <= given < count:
        raise UserError(Fault(f"--index: {given}", allowed=f"0 to {count - 1}, the test split"))
    return samples.spread(count) if given is None else np.array([given])


def _continued(module: RecurrentModule, test: Examples, request: Request) -> tuple[list[Told], list[np.ndarray]]:
    """Go on from what the user gave, or from the beginning of the test split."""
    import numpy as np

    from harness.training import samples

    task, text = module.task, request.prompt if request.prompt is not None else request.input
    if text is not None:
        examples = task.ask(text)
        prompt = samples.given(examples, 0)
    else:
        prompt = np.asarray(test.inputs[0][: 1 if task.document else samples.PROMPT])
    count = request.count or (GRID if task.document and request.out else 1)
    steps = request.length or task.document or LENGTH
    temperature = 1.0 if request.temperature is None else request.temperature
    got = list(samples.continued(module, np.stack([prompt] * count), steps, temperature, request.seed or 0))
    return [(task.told(prompt), None, task.said(answer)) for answer in got], got


def _write(task: Task, out: Path, answers: Sequence[np.ndarray]) -> None:
    """Let the task write a file, whole or not at all."""
    temporary = out.with_name(f".tmp-{secrets.token_hex(4)}-{out.name}")
    try:
        task.write(temporary, answers)
        os.rename(temporary, out)
    except OSError as error:
        raise UserError(Fault(f"cannot write: {error.strerror or error}", where=str(out))) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
