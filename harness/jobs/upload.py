"""What goes to a cluster: an allow-list, and nothing else. The package, the benchmark, and the files that it names.

Ray's own way is to pack the whole folder: measured, that took `.env`, `.netrc`, keys, `wandb/`, `results/` and what a
link outside the folder points to. Here nothing goes unless it is named; what looks like a key, or leads out of the
folder, is refused even then.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from harness import machine
from harness.errors import Fault, UserError
from harness.storage import files

if TYPE_CHECKING:
    from harness.spec import Benchmark

SOURCE = {".py", ".yaml", ".j2", ".html", ".css", ".js"}
"""Files of the package by suffix, as `pyproject.toml` installs them."""
MOST_BYTES = 200 * 2**20
"""Beyond this, data belong on the storage that the nodes share; Ray itself stops at 512 MiB."""
COMMIT = "harness/COMMIT"
"""File with the commit of the code, which has no git there."""
NEVER = {"wandb", "results", "__pycache__"}
"""Folders that hold what was made here; hidden ones are never sent either."""
_SECRET = re.compile(
    r"\..*|id_(rsa|dsa|ecdsa|ed25519)\b.*|.*\.(pem|key|p12|pfx|jks|keystore|kdbx|ppk|asc|gpg)"
    r"|_?netrc|(credentials?|secrets?|auth_token|kubeconfig|service[-_]account.*)(\.\w+)?",
    re.IGNORECASE,
)
_PRIVATE = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY")


@dataclass(frozen=True)
class Upload:
    """Files by their path in the job's folder, and what was passed over on the way."""

    files: dict[str, bytes]
    benchmark: str
    left_out: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(map(len, self.files.values()))

    @property
    def digest(self) -> str:
        """Hash of names and contents."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(f"{len(name)} {name} {len(content)}\n".encode() + content)
        return digest.hexdigest()[:16]

    def told(self) -> Iterator[str]:
        """Yield the lines that show it before it goes."""
        package = [content for name, content in self.files.items() if name.startswith("harness/")]
        rest = sorted(name for name in self.files if not name.startswith("harness/"))
        yield f"upload: {len(self.files)} files, {_size(self.size)}"
        yield f"  harness/: {len(package)} files, {_size(sum(map(len, package)))}"
        yield from (f"  {name}: {_size(len(self.files[name]))}" for name in rest)
        yield from (f"  left out: {name}" for name in self.left_out)

    def stage(self, folder: Path) -> Path:
        """Write it as a folder that Ray packs, and return that."""
        for name, content in self.files.items():
            files.make_folder((folder / name).parent)
            (folder / name).write_bytes(content)
        return folder


def collect(benchmark: Benchmark, here: Path | None = None) -> Upload:
    """Return what a benchmark needs on a cluster. `here` is the folder that its paths start from. UserError names every
    file that must not go."""
    here = here or Path.cwd()
    faults: list[Fault] = []
    found, left_out = package()
    named = [str(benchmark.path), *_data(benchmark)]
    for path in named:
        found |= _named(path, here, faults)
    if faults:
        raise UserError(faults)
    upload = Upload(found, _below(str(benchmark.path), here), tuple(left_out))
    if upload.size > MOST_BYTES:
        what = f"the upload has {_size(upload.size)}, more than {_size(MOST_BYTES)}"
        raise UserError(Fault(what, remedy="copy the data to storage that every node sees, and name them by that path"))
    return upload


def package(root: Path | None = None) -> tuple[dict[str, bytes], list[str]]:
    """Return the files of the package, and the links and keys in it that stay here."""
    root = root or Path(__file__).parents[1]
    found: dict[str, bytes]
    left_out: list[str]
    found, left_out = {COMMIT: machine.git_commit().encode()}, []
    for folder, folders, names in os.walk(root):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        folders[:] = sorted(n for n in folders if n not in links and n != "__pycache__" and not n.startswith("."))
        for name in sorted([*names, *links]):
            path = Path(folder, name)
            inside = f"harness/{path.relative_to(root).as_posix()}"
            if path.is_symlink():
                left_out.append(f"{inside} (a link)")
            elif path.suffix in SOURCE and path.is_file():
                if why := _secret(path, PurePosixPath(inside)):
                    left_out.append(f"{inside} ({why})")
                else:
                    found[inside] = path.read_bytes()
    return found, left_out


def _data(benchmark: Benchmark) -> list[str]:
    """Return the relative paths of a user's own data in the trials; an absolute path is on shared storage already."""
    from harness.data.own import is_path

    given = {trial.task.get("data") for trial in benchmark.trials if trial.task.get("sha256")}
    return sorted(d for d in given if isinstance(d, str) and is_path(d) and not _shared(d))


def shared_data(benchmark: Benchmark) -> list[str]:
    """Return the paths of own data that are not uploaded, since they start at the root."""
    given = {trial.task.get("data") for trial in benchmark.trials if trial.task.get("sha256")}
    return sorted(d for d in given if isinstance(d, str) and _shared(d))


def _shared(path: str) -> bool:
    return PurePosixPath(path).is_absolute()


def _named(path: str, here: Path, faults: list[Fault]) -> dict[str, bytes]:
    """Return the files at a path that the benchmark names, noting each that must not go."""
    name = _below(path, here)
    if not name:
        remedy = "put it below this folder, or on storage that every node sees and give its absolute path"
        faults.append(Fault("leads out of this folder, so a job would not find it", path, remedy=remedy))
        return {}
    found = {}
    for file in _walk(here / name):
        inside = file.relative_to(here).as_posix()
        if not file.resolve().is_relative_to(here.resolve()):
            faults.append(Fault("a link that leads out of this folder", inside, remedy="copy what it points to"))
        elif not file.is_file():
            faults.append(Fault("a link to a folder, or to nothing", inside, remedy="copy what it points to"))
        elif why := _secret(file, PurePosixPath(inside)):
            remedy = "move it: every file of a data folder is part of its data, and goes to the cluster"
            faults.append(Fault(f"must not leave this machine: {why}", inside, remedy=remedy))
        else:
            found[inside] = file.read_bytes()
    return found


def _walk(path: Path) -> Sequence[Path]:
    """Return the files at a path as a task reads them: one, or everything below a folder."""
    return [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() or p.is_symlink())


def _below(path: str, here: Path) -> str:
    """Return a path relative to `here`, or "" where it leads elsewhere."""
    whole = Path(os.path.normpath(here / path))
    return whole.relative_to(here).as_posix() if whole.is_relative_to(here) and whole != here else ""


def _secret(path: Path, inside: PurePosixPath) -> str:
    """Say why a file is kept here: it looks like a secret, or lies among what is never sent; "" where neither is so."""
    if private := [part for part in inside.parts[:-1] if part.startswith(".") or part in NEVER]:
        return f"it lies in {private[0]}/"
    if _SECRET.fullmatch(path.name):
        return "its name is that of a key, a credential or a hidden file"
    with path.open("rb") as file:
        return "it holds a private key" if _PRIVATE.search(file.read(2_000)) else ""


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB" if count >= 2**20 else f"{max(1, round(count / 2**10)):,} KiB"
