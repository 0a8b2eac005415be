"""The checkpoints of one trial, as files: whole or absent, checked when written and when read, in plain types.

    <trial id>.checkpoint/
        manifest.json            names the two newest by size and SHA-256, and what they are bound to; sealed itself
        000000400-8c1f03ab       of update 400: an ordinary file of torch's, read with weights_only=True

A checkpoint counts from the moment that the manifest names it, which is after it was read back. The one before it stays
until the next is proven, so that a bad spot on a disk costs updates and not the trial. Of several workers the first one
writes what all have become. Written by way of harness/storage/files.py: in the same folder, synced, renamed.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import pickle
import secrets
from contextlib import AbstractContextManager, suppress
from typing import Any, NamedTuple

import torch

from harness.storage import files
from harness.storage.objects import Place
from harness.storage.sealed import seal

FORMAT = 2
MANIFEST = "manifest.json"
KEPT = 2  # the newest and the one before it
LONG, NUMBERS = 64, "numbers"  # of a list of as many numbers, a checkpoint holds a tensor under this key


class Foreign(Exception):
    """A checkpoint that does not fit the trial it is read for."""


class Found(NamedTuple):
    """A checkpoint to go on from, and which attempt at the trial does so."""

    state: dict[str, Any]
    attempt: int


class Checkpoints:
    """The checkpoints of one trial, in a folder of their own beside its record."""

    def __init__(self, folder: Place, trial_id: str) -> None:
        self.folder, self.trial_id = folder, trial_id
        self.aside = folder.with_name(folder.name + "-aside")
        self._known: list[dict[str, Any]] = []

    def write(self, state: dict[str, Any], updates: int, attempt: int, bound: dict[str, str]) -> None:
        """Add a checkpoint and drop the oldest. `bound`: what must be the same for equal numbers. Raises OSError; what
        was there before is then still there."""
        self._known = [self._put(state, updates), *self._known[: KEPT - 1]]
        self._name(attempt, bound)
        named = {MANIFEST} | {each["name"] for each in self._known}
        for name in set(files.names(self.folder)) - named:
            with suppress(OSError):
                (self.folder / name).unlink()

    def _put(self, state: dict[str, Any], updates: int) -> dict[str, Any]:
        """Write a state, read it back, and return how a manifest names it."""
        data = packed(state)
        name = f"{updates:09}-{secrets.token_hex(4)}"
        files.replace(self.folder / name, data)
        entry = {"updates": updates, "name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        try:
            self._load(entry)
        except ValueError as error:
            raise OSError(errno.EIO, f"what was just written {error}") from error
        return entry

    def read(self, bound: dict[str, str]) -> Found | None:
        """Return the newest checkpoint that is whole, if there is one; what is damaged or foreign is said, and set
        aside. Counts as an attempt. Raises Stopped where the disk is full or fails."""
        with self._explained():
            return self._read(bound)

    def _read(self, bound: dict[str, str]) -> Found | None:
        try:
            manifest = self._manifest(bound)
        except FileNotFoundError:
            return None
        except Foreign as error:
            self.set_aside(str(error))
            return None
        known = manifest["checkpoints"]
        for number, each in enumerate(known):
            try:
                state = self._load(each)
            except ValueError as error:
                older = [one["updates"] for one in known[number + 1 :]]
                what = f"{each['updates'] - older[0]} updates are repeated" if older else "there is none before it"
                self._say(f"the checkpoint of update {each['updates']} {error}; {what}")
                continue
            self._known = known[number:]
            self._name(manifest["attempts"] + 1, bound)
            return Found(state, manifest["attempts"] + 1)
        self.set_aside("none of its checkpoints can be read")
        return None

    def set_aside(self, why: str) -> None:
        """Keep what is no use where it is in nobody's way, until the trial has its record. Raises Stopped."""
        with self._explained():
            files.remove_tree(self.aside)
            files.move(self.folder, self.aside)
        self._say(f"{why}; it starts anew\n  the checkpoint lies in {self.aside}")

    def remove(self) -> None:
        """Remove everything: the trial has its record."""
        with suppress(OSError):
            (self.folder / MANIFEST).unlink()
        for folder in (self.folder, self.aside):
            files.remove_tree(folder)

    def _explained(self) -> AbstractContextManager[None]:
        return files.explained(f"the checkpoint of trial {self.trial_id}", self.folder)

    def _say(self, what: str) -> None:
        print(f"warning: trial {self.trial_id}: {what}", flush=True)

    def _name(self, attempts: int, bound: dict[str, str]) -> None:
        manifest = {"format": FORMAT, "trial": self.trial_id, "bound": bound, "attempts": attempts}
        manifest["checkpoints"] = self._known
        text = json.dumps(manifest | {"seal": seal(manifest)}, indent=1)
        files.replace(self.folder / MANIFEST, text.encode())

    def _manifest(self, bound: dict[str, str]) -> dict[str, Any]:
        """Return what is stored. Raises Foreign where it is damaged or bound to something else."""
        try:
            manifest = json.loads((self.folder / MANIFEST).read_bytes())
            sealed = manifest.pop("seal")
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise Foreign("the manifest of its checkpoint cannot be read") from error
        if sealed != seal(manifest):
            raise Foreign("the manifest of its checkpoint was altered")
        wanted = {"format": FORMAT, "trial": self.trial_id} | bound
        there = {"format": manifest.get("format"), "trial": manifest.get("trial")} | manifest.get("bound", {})
        for name in wanted | there:
            if wanted.get(name) != there.get(name):
                raise Foreign(f"its checkpoint is of {name} {there.get(name)}, not {wanted.get(name)}")
        return manifest

    def _load(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Return the state that a manifest names. Raises ValueError, saying what is wrong with it."""
        try:
            data = (self.folder / entry["name"]).read_bytes()
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror or error}") from error
        if len(data) != entry["bytes"] or hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise ValueError("is cut short or altered")
        return unpacked(data)


def packed(state: dict[str, Any]) -> bytes:
    """Return plain data as the bytes of a file."""
    out = io.BytesIO()
    torch.save(_plain(state), out)
    return out.getvalue()


def unpacked(data: bytes) -> dict[str, Any]:
    """Return what was packed; nothing in it is run. Raises ValueError."""
    if not data.startswith(b"PK"):  # torch warns of older formats; ours is a ZIP
        raise ValueError("cannot be read: is no checkpoint")
    try:
        return _lists(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError, EOFError, TypeError, KeyError) as error:
        raise ValueError(f"cannot be read: {str(error).splitlines()[0] if str(error) else type(error)}") from error


def _plain(value: Any) -> Any:
    """Named tuples become tuples and long lists of numbers tensors: a million read one by one takes seconds. A view
    becomes a copy, for a file would hold all of the memory that it looks into; and so does a count, for what several
    weights share in a pack must not be shared by who goes on alone."""
    if isinstance(value, torch.Tensor) and (not value.ndim or value.untyped_storage().nbytes() > value.nbytes):
        return value.clone()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(_plain(each) for each in value)
    if not isinstance(value, list):
        return value
    if len(value) >= LONG and len(kind := {type(each) for each in value}) == 1 and kind <= {int, float}:
        return {NUMBERS: torch.tensor(value, dtype=torch.float64 if kind == {float} else torch.int64)}
    return [_plain(each) for each in value]


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return value[NUMBERS].tolist() if value.keys() == {NUMBERS} else {k: _lists(each) for k, each in value.items()}
    if isinstance(value, tuple):
        return tuple(_lists(each) for each in value)
    return [_lists(each) for each in value] if isinstance(value, list) else value
