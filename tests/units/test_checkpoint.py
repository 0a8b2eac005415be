"""Checkpoints as files: whatever happens to them, the state that is read is one that was written, or none."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import Stopped
from harness.storage.sealed import seal
from harness.training import checkpoint
from harness.training.checkpoint import KEPT, MANIFEST, Checkpoints, packed, unpacked

ID, BOUND = "0123456789abcdef", {"data": "d", "torch": "2"}


def state(number: int) -> dict[str, Any]:
    return {"weights": {"w": torch.full((300,), float(number))}, "losses": [0.5] * 200, "updates": number}


def number_of(found: checkpoint.Found | None) -> int | None:
    return None if found is None else found.state["updates"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / f"{ID}.checkpoint"


@pytest.fixture
def two(folder: Path) -> Path:
    """The folder of a trial with checkpoints of updates 100 and 200."""
    kept = Checkpoints(folder, ID)
    for number in (100, 200):
        kept.write(state(number), number, 1, BOUND)
    return folder


def newest(folder: Path) -> Path:
    return sorted(path for path in folder.iterdir() if path.name != MANIFEST)[-1]


# what is kept


def test_the_newest_is_read_and_only_the_one_before_it_is_kept(folder):
    kept = Checkpoints(folder, ID)
    assert kept.read(BOUND) is None
    for number in range(1, 6):
        kept.write(state(number), number, 1, BOUND)
        assert number_of(Checkpoints(folder, ID).read(BOUND)) == number
        assert len(os.listdir(folder)) == 1 + min(number, KEPT)
    kept.remove()
    assert not folder.exists() and Checkpoints(folder, ID).read(BOUND) is None


def test_each_one_that_goes_on_is_an_attempt(two):
    assert [Checkpoints(two, ID).read(BOUND).attempt for _ in range(3)] == [2, 3, 4]


def test_a_reader_needs_no_trust(two):
    for path in two.iterdir():
        if path.name != MANIFEST:
            assert torch.load(path, weights_only=True)["updates"] in (100, 200)
    with pytest.raises(ValueError, match="cannot be read"):
        unpacked(pickle.dumps(os.getcwd))


class Gadget:
    """Makes a folder wherever it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def zipped(value: object) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


@pytest.mark.parametrize("form", [zipped, pickle.dumps])
def test_what_would_run_something_is_refused_and_runs_nothing(form, two, tmp_path, capsys):
    """With sizes, hashes and a seal that are right: who may write into the folder can make them."""
    ran, path = tmp_path / "ran", newest(two)
    data = form({"updates": Gadget(ran)})
    path.write_bytes(data)
    manifest = json.loads((two / MANIFEST).read_bytes())
    (entry,) = [each for each in manifest["checkpoints"] if each["name"] == path.name]
    entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    del manifest["seal"]
    (two / MANIFEST).write_text(json.dumps(manifest | {"seal": seal(manifest)}))
    assert number_of(Checkpoints(two, ID).read(BOUND)) == 100
    assert "the checkpoint of update 200 cannot be read" in capsys.readouterr().out
    assert not ran.exists()
    with suppress(RuntimeError):
        torch.load(path, weights_only=False)
    assert ran.exists(), "it would have run"


numbers = st.lists(st.integers(-(2**62), 2**62) | st.floats() | st.booleans(), max_size=3).flatmap(
    lambda few: st.sampled_from([1, 40]).map(lambda times: few * times)
)
plain = st.recursive(
    numbers | st.none() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.integers(0, 9) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(plain)
def test_plain_data_comes_back_as_it_was(value):
    assert repr(unpacked(packed({"value": value}))) == repr({"value": value})


# damage


def flipped(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGE = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "a flipped bit": lambda path: path.write_bytes(flipped(path.read_bytes())),
    "harmful": lambda path: path.write_bytes(pickle.dumps(os.getcwd)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_costs_updates_and_not_the_trial(kind, two, capsys):
    DAMAGE[kind](newest(two))
    assert number_of(Checkpoints(two, ID).read(BOUND)) == 100
    said = capsys.readouterr().out
    assert ID in said and "update 200" in said and "100 updates are repeated" in said


@pytest.mark.parametrize("kind", DAMAGE)
def test_where_all_are_damaged_the_trial_starts_anew_and_they_are_set_aside(kind, two, capsys):
    for path in list(two.iterdir()):
        if path.name != MANIFEST:
            DAMAGE[kind](path)
    kept = Checkpoints(two, ID)
    assert kept.read(BOUND) is None and not two.exists() and (kept.aside / MANIFEST).exists()
    said = capsys.readouterr().out
    assert "starts anew" in said and str(kept.aside) in said
    kept.write(state(1), 1, 1, BOUND)
    assert number_of(Checkpoints(two, ID).read(BOUND)) == 1
    kept.remove()
    assert not kept.aside.exists()


@pytest.mark.parametrize("kind", ["empty", "cut", "longer", "a flipped bit", "harmful"])
def test_a_damaged_manifest_is_set_aside(kind, two, capsys):
    DAMAGE[kind](two / MANIFEST)
    assert Checkpoints(two, ID).read(BOUND) is None and not two.exists()
    assert "manifest" in capsys.readouterr().out


def test_any_altered_number_in_the_manifest_is_noticed(two):
    """Not only those that are hashes."""
    path = two / MANIFEST
    text = path.read_text()
    for old, new in {
        '"attempts": 1': '"attempts": 2',
        '"updates": 200': '"updates": 201',
        '"format": 2': '"format": 3',
    }.items():
        assert old in text
        path.write_text(text.replace(old, new))
        assert Checkpoints(two, ID).read(BOUND) is None
        two.with_name(two.name + "-aside").rename(two)
    path.write_text(json.dumps(json.loads(text)))  # layout is nothing
    assert number_of(Checkpoints(two, ID).read(BOUND)) == 200


@pytest.mark.parametrize(
    ("bound", "says"),
    [
        ({**BOUND, "data": "other"}, "data d, not other"),
        ({**BOUND, "torch": "3"}, "torch 2, not 3"),
        ({**BOUND, "numpy": "2"}, "numpy None, not 2"),
        ({"data": "d"}, "torch 2, not None"),
    ],
)
def test_a_checkpoint_of_other_data_or_versions_is_never_gone_on_from(bound, says, two, capsys):
    assert Checkpoints(two, ID).read(bound) is None and says in capsys.readouterr().out


def test_a_checkpoint_of_another_trial_or_format_is_never_gone_on_from(two, capsys, monkeypatch):
    other = Checkpoints(two, "fedcba9876543210")
    assert other.read(BOUND) is None and f"trial {ID}, not fedcba9876543210" in capsys.readouterr().out
    other.aside.rename(two)
    monkeypatch.setattr(checkpoint, "FORMAT", 3)
    assert Checkpoints(two, ID).read(BOUND) is None and "format 2, not 3" in capsys.readouterr().out


# a failing disk


CALLS = ("open", "write", "fsync", "close", "replace", "mkdir")


def break_disk(patch: pytest.MonkeyPatch, fail_at: int, error: int) -> list[int]:
    """Fail the Nth call that changes the disk, a write after half of its bytes; return how many there were."""
    calls = [0]

    def wrap(name: str, real: Any) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            calls[0] += 1
            if calls[0] != fail_at:
                return real(*args, **named)
            if name == "write":
                real(args[0], bytes(args[1])[: len(args[1]) // 2])
            if name == "close":
                real(*args)
            raise OSError(error, os.strerror(error))

        return call

    for name in CALLS:
        patch.setattr(os, name, wrap(name, getattr(os, name)))
    return calls


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_whichever_call_fails_the_old_or_the_new_one_is_there(error, two):
    for fail_at in range(1, 100):
        kept = Checkpoints(two, ID)
        before = kept.read(BOUND)
        failed = False
        with pytest.MonkeyPatch.context() as patch:
            calls = break_disk(patch, fail_at, error)
            try:
                kept.write(state(300 + fail_at), 300 + fail_at, 1, BOUND)
            except OSError:
                failed = True
        after = number_of(Checkpoints(two, ID).read(BOUND))
        assert after == 300 + fail_at or (failed and after == number_of(before))
        assert not [name for name in os.listdir(two) if name.startswith(".tmp-")]
        if not failed and calls[0] < fail_at:
            break
    assert fail_at > 8
    kept.write(state(999), 999, 1, BOUND)
    assert number_of(Checkpoints(two, ID).read(BOUND)) == 999 and len(os.listdir(two)) == 1 + KEPT


def test_a_disk_that_reads_other_than_was_written_is_no_checkpoint(two, monkeypatch):
    real = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: real(path)[::-1] if path.name.startswith("000000300") else real(path)
    )
    with pytest.raises(OSError, match="what was just written is cut short or altered"):
        Checkpoints(two, ID).write(state(300), 300, 1, BOUND)
    monkeypatch.undo()
    assert number_of(Checkpoints(two, ID).read(BOUND)) == 200


def test_a_full_disk_when_it_would_go_on_says_what_to_do(two):
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(Stopped, match=r"checkpoint of trial .*(?s:.)*run the same"),
    ):
        break_disk(patch, 1, errno.ENOSPC)
        Checkpoints(two, ID).read(BOUND)
    assert number_of(Checkpoints(two, ID).read(BOUND)) == 200
