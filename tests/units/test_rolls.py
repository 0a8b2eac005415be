"""Piano rolls: from MATLAB, npz and MIDI, what is refused of them, and back to MIDI without a note lost."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.data.read_rolls import KEYS, LOWEST, heard, own_rolls, rolls_of, spelt, write_midi
from harness.errors import UserError
from harness.tasks.base import SPLITS


def roll(frames: int, seed: int = 0) -> np.ndarray:
    """A piece whose last frame sounds, for MIDI does not say how long a rest at the end is."""
    drawn = (np.random.default_rng(seed).random((frames, KEYS)) < 0.05).astype(np.uint8)
    drawn[-1, 40] = 1
    return drawn


def midi(path: Path, messages: list[Any], ticks: int = 4, kind: int = 1) -> Path:
    file = mido.MidiFile(ticks_per_beat=ticks, type=kind)
    file.tracks.append(mido.MidiTrack(messages))
    file.save(path)
    return path


def note(kind: str, number: int, time: int, channel: int = 0, velocity: int = 64) -> mido.Message:
    return mido.Message(kind, note=number, time=time, channel=channel, velocity=velocity)


def refused(call: Any) -> list[str]:
    with pytest.raises(UserError) as error:
        call()
    return [str(fault) for fault in error.value.faults]


# MIDI


@given(st.integers(1, 30), st.integers(0, 99), st.sampled_from([1, 2, 3, 4, 7, 12, 24, 96]))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_again(tmp_path: Path, frames: int, seed: int, beat: int):
    path = tmp_path / "x.mid"
    write_midi(path, [roll(frames, seed)], beat)
    (found,) = rolls_of(path, beat)
    assert np.array_equal(found, roll(frames, seed))


def test_pieces_follow_each_other_after_a_beat_of_rest(tmp_path: Path):
    one, two = roll(5, 1), roll(3, 2)
    write_midi(tmp_path / "x.mid", [one, two.astype(np.float32)], 4)
    (found,) = rolls_of(tmp_path / "x.mid", 4)
    assert np.array_equal(found, np.concatenate([one, np.zeros((4, KEYS)), two]))
    file = mido.MidiFile(tmp_path / "x.mid")
    assert file.length == pytest.approx((5 + 4 + 3) / 4 * 0.5), "120 beats a minute"
    sounding: set[int] = set()
    for message in file:
        if message.type == "note_on":
            assert message.note not in sounding
            sounding.add(message.note)
        elif message.type == "note_off":
            sounding.remove(message.note)
    assert not sounding


def test_notes_end_by_velocity_0_by_the_next_and_by_the_end_of_the_piece(tmp_path: Path):
    messages = [
        note("note_on", 60, 0),
        note("note_on", 60, 4, velocity=0),
        note("note_on", 62, 0),
        note("note_on", 62, 4),  # struck again
        note("note_on", 35, 0, channel=9),  # drums
        note("note_on", 64, 4, channel=3),
        note("note_off", 62, 4),
        note("note_off", 70, 0),  # never began
    ]
    (found,) = rolls_of(midi(tmp_path / "x.mid", messages), 1)
    assert spelt(found) == "C4 D4 D4 D4+E4"


def test_a_note_shorter_than_a_frame_sounds_for_one(tmp_path: Path):
    messages = [note("note_on", 60, 7), note("note_off", 60, 1), note("note_on", 61, 92), note("note_off", 61, 100)]
    (found,) = rolls_of(midi(tmp_path / "x.mid", messages, ticks=100), 1)
    assert spelt(found) == "C4 C#4"


def test_tracks_sound_together_and_a_slow_beat_has_as_many_frames(tmp_path: Path):
    file = mido.MidiFile(ticks_per_beat=10)
    for number, start in ((60, 0), (67, 10)):
        tempo = mido.MetaMessage("set_tempo", tempo=900_000)
        file.tracks.append(mido.MidiTrack([tempo, note("note_on", number, start), note("note_off", number, 20)]))
    file.save(tmp_path / "x.mid")
    assert spelt(rolls_of(tmp_path / "x.mid", 1)[0]) == "C4 C4+G4 G4"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a MIDI file"),
        (b"MThd", "not a MIDI file"),
        (b"RIFFxxxxWAVE", "not a MIDI file"),
        (b"\0" * 100, "not a MIDI file"),
    ],
)
def test_other_files_are_no_midi(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "x.mid").write_bytes(content)
    (said,) = refused(lambda: rolls_of(tmp_path / "x.mid", 4))
    assert said.startswith(f"{tmp_path}/x.mid: {message}")


@pytest.mark.parametrize(
    ("messages", "how", "message"),
    [
        ([note("note_on", 12, 0), note("note_off", 12, 9)], {}, "note 12 is on no piano\n  allowed: notes 21 to 108"),
        ([note("note_on", 60, 0), note("note_off", 60, 2**27)], {"ticks": 1}, "134,217,728 frames"),
        ([], {}, "0 frames"),
        ([note("note_on", 60, 0), note("note_off", 60, 2)], {"kind": 2}, "each track is a song of its own"),
        ([note("note_on", 60, 0), note("note_off", 60, 2)], {"ticks": -6400}, "time in film frames"),
    ],
)
def test_midi_that_makes_no_roll_is_refused(tmp_path: Path, messages: list[Any], how: dict[str, int], message: str):
    path = midi(tmp_path / "x.mid", messages, **how)
    (said,) = refused(lambda: rolls_of(path, 1))
    assert said.startswith(f"{path}: {message}")


def whole_midi() -> bytes:
    out = io.BytesIO()
    file = mido.MidiFile()
    start = [
        mido.MetaMessage("key_signature", key="Bb"),
        mido.MetaMessage("time_signature"),
        mido.Message("pitchwheel"),
    ]
    file.tracks.append(mido.MidiTrack([*start, note("note_on", 60, 0), note("note_off", 60, 200)]))
    file.save(file=out)
    return out.getvalue()


def whole_npz() -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, a=roll(3), b=roll(9, 1).astype(np.float32))
    return out.getvalue()


@given(st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize(("suffix", "whole"), [(".mid", whole_midi()), (".npz", whole_npz())])
def test_a_damaged_file_is_read_or_refused_and_never_crashes(tmp_path: Path, suffix: str, whole: bytes, data: Any):
    content = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else content)
    try:
        for found in rolls_of(path, 4):
            assert found.dtype == np.uint8 and found.shape[1] == KEYS and found.max() <= 1
    except UserError as error:
        assert all(str(fault).startswith(str(path)) for fault in error.faults)


# npz


def save(path: Path, **arrays: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.array([{"a": 1}], dtype=object),
            "not a plain array: Object arrays cannot be loaded when allow_pickle=False",
        ),
        (np.array(["C4"]), "not a plain array: it holds <U2"),
        (np.zeros((4, 87)), "float64 of size (4, 87)"),
        (np.zeros((0, KEYS)), "float64 of size (0, 88)"),
        (np.zeros(KEYS), "float64 of size (88,)"),
        (np.where(np.arange(KEYS) == 7, np.nan, np.zeros((3, KEYS))), "frame 0, key 7: nan"),
        (np.where(np.arange(KEYS) == 87, 64, np.zeros((3, KEYS), int)), "frame 0, key 87: 64"),
        (np.zeros((3, KEYS), complex), "not a plain array: it holds complex128"),
    ],
)
def test_an_array_that_is_no_roll_is_refused_with_its_place(tmp_path: Path, array: np.ndarray, message: str):
    path = save(tmp_path / "x.npz", bad=array)
    (said,) = refused(lambda: rolls_of(path, 4))
    assert said.startswith(f"{path}, array 'bad': {message}\n  allowed: ")


def test_an_array_that_promises_more_than_follows_is_refused(tmp_path: Path):
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "<f8", "fortran_order": False, "shape": (1 << 44, KEYS)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("a.npy", out.getvalue())
    (said,) = refused(lambda: rolls_of(tmp_path / "x.npz", 4))
    assert said.startswith(f"{tmp_path}/x.npz, array 'a': not a plain array")


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip", b"\x93NUMPY\x01\x00"])
def test_other_files_are_no_npz(tmp_path: Path, content: bytes):
    (tmp_path / "x.npz").write_bytes(content)
    (said,) = refused(lambda: rolls_of(tmp_path / "x.npz", 4))
    assert said.startswith(f"{tmp_path}/x.npz: ")


# a user's own


def test_folders_named_for_the_splits_are_the_splits(tmp_path: Path):
    own = tmp_path / "train" / "test" / "own"  # names above the folder mean nothing
    for split, seed in zip(SPLITS, range(3), strict=True):
        save(own / split / "x.npz", a=roll(4, seed), b=roll(6, seed + 10))
    found = own_rolls(str(own), 4)
    for split, seed in zip(SPLITS, range(3), strict=True):
        assert [np.array_equal(a, b) for a, b in zip(found[split], (roll(4, seed), roll(6, seed + 10)), strict=True)]


def test_pieces_without_folders_are_parted_in_the_order_of_their_names(tmp_path: Path):
    for number in range(20):
        save(tmp_path / f"{number:02}.npz", a=roll(3, number))
    found = own_rolls(str(tmp_path), 4)
    assert [len(found[split]) for split in SPLITS] == [16, 2, 2]
    assert np.array_equal(found["valid"][0], roll(3, 16)) and np.array_equal(found["test"][1], roll(3, 19))


def test_a_split_without_a_piece_and_a_piece_beside_them_are_refused_together(tmp_path: Path):
    for name in ("train/a", "train/b", "test/c", "d"):
        save(tmp_path / f"{name}.npz", a=roll(3))
    assert refused(lambda: own_rolls(str(tmp_path), 4)) == [
        f"{tmp_path}: no piece in folder 'valid'\n  allowed: all in folders train, valid and test",
        f"{tmp_path}/d.npz: beside the folders of the splits\n  allowed: all in folders train, valid and test",
    ]


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path):
    save(tmp_path / "a.npz", a=roll(1))
    (tmp_path / "b.txt").write_text("C4")
    (tmp_path / "c.mid").write_text("C4")
    said = refused(lambda: own_rolls(str(tmp_path), 4))
    assert [text.split(": ")[0] for text in said] == [f"{tmp_path}/{name}" for name in ("b.txt", "c.mid", "a.npz")]
    assert said[0].endswith("neither piano rolls nor MIDI\n  allowed: .npz, .mid, .midi")
    assert "one frame, with none after it" in said[2]


def test_two_pieces_are_too_few(tmp_path: Path):
    path = save(tmp_path / "x.npz", a=roll(3), b=roll(3))
    assert refused(lambda: own_rolls(str(path), 4)) == [f"{path}: 2 pieces\n  allowed: at least 3, one for each split"]


# words


@given(st.integers(1, 12), st.integers(0, 99))
@settings(deadline=None, max_examples=50)
def test_what_is_spelt_is_heard_again(frames: int, seed: int):
    assert np.array_equal(heard(spelt(roll(frames, seed))), roll(frames, seed))


def test_a_spelling_says_notes_as_people_do():
    found = heard("A0 Bb3+C4 - C8")
    assert found.shape == (4, KEYS) and np.argwhere(found).tolist() == [
        [0, 0],
        [1, 58 - LOWEST],
        [1, 60 - LOWEST],
        [3, 87],
    ]
    assert spelt(found) == "A0 A#3+C4 - C8" and heard("").shape == (0, KEYS)


@pytest.mark.parametrize("word", ["H4", "C9", "G0", "C", "4", "C4+", "c4", "Cb4", "C4+X2", "--", "C-1"])
def test_a_word_that_is_no_note_is_named_with_its_frame(word: str):
    (said,) = refused(lambda: heard(f"C4 {word}"))
    assert said.startswith("frame 2: no note '") and said.endswith("C4+E4+G4, - for a rest")
