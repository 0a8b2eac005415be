"""What is remembered here of a job: a note in results/.jobs/<id>/, so that the other verbs need its id or nothing."""

from __future__ import annotations

import difflib
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import Fault, UserError, nearest
from harness.storage import files

FOLDER, NOTE = ".jobs", "job.json"


@dataclass(frozen=True)
class Note:
    """A job that was submitted from here. It holds no secret: names, settings and the text of the benchmark."""

    id: str
    on: str
    benchmark: str
    name: str
    set: list[str]
    options: list[str]
    text: str
    digest: str
    trials: str
    at: str

    def changes(self) -> str:
        """Return how the benchmark differs now from what was submitted; "" where it does not."""
        now = Path(self.benchmark).read_text(encoding="utf-8-sig") if Path(self.benchmark).is_file() else ""
        before, after = self.text.splitlines(keepends=True), now.splitlines(keepends=True)
        return "".join(difflib.unified_diff(before, after, f"{self.benchmark} as submitted", "now"))


def new_id(name: str) -> str:
    """Return an id for a job that nobody has used: the benchmark, the time, and a little chance."""
    return f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def folder(results: Path, job: str) -> Path:
    """Return where what is known here of a job lies."""
    return results / FOLDER / job


def write(results: Path, note: Note) -> None:
    """Remember a job, before it is submitted: what may run on a cluster is never unknown here."""
    path = folder(results, note.id) / NOTE
    with files.explained("the note of the job", path):
        files.replace(path, json.dumps(asdict(note), indent=1).encode())


def forget(results: Path, job: str) -> None:
    """Remove the note of a job that the cluster did not take."""
    (folder(results, job) / NOTE).unlink(missing_ok=True)


def find(results: Path, job: str | None) -> Note | None:
    """Return the note of a job, or of the latest; None where that job was not submitted from here."""
    known = {path.parent.name: path for path in results.glob(f"{FOLDER}/*/{NOTE}")}
    if job is None:
        latest = max(known.values(), key=lambda path: path.stat().st_mtime_ns, default=None)
        return _read(latest) if latest else None
    return _read(known[job]) if job in known else None


def needed(results: Path, job: str | None) -> Note:
    """As `find`, but UserError where there is none."""
    found = find(results, job)
    if found is None:
        known = [path.parent.name for path in results.glob(f"{FOLDER}/*/{NOTE}")]
        what = f"no job {job!r} was submitted from here" if job else "no job was submitted from here"
        hint = nearest(job, known) if job else ""
        remedy = hint or "harness submit FILE --on cluster/NAME.yaml, or give JOB and --on"
        raise UserError(Fault(what, str(results / FOLDER), ", ".join(sorted(known)[-10:]), remedy))
    return found


def _read(path: Path) -> Note:
    try:
        return Note(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(Fault(f"this note cannot be read: {error}", str(path), remedy=f"rm '{path}'")) from None


def entrypoint(benchmark: str, overrides: Sequence[str], options: Sequence[str], results: str) -> list[str]:
    """Return the command that a job runs on the cluster."""
    settings = [word for setting in overrides for word in ("--set", setting)]
    return ["python", "-m", "harness", "run", benchmark, *settings, "--on", "cluster", "--results", results, *options]
