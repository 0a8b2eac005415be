"""Piano rolls: which of the 88 keys of a piano sound in each frame, from MATLAB cells, npz and MIDI, and back to MIDI.

A roll is (T, 88) bytes of 0 and 1; the first key is A0, MIDI note 21. It does not say where a note that sounds on is
struck again.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness.data.own import files
from harness.data.read_arrays import plain_arrays
from harness.errors import Fault, UserError
from harness.late import np
from harness.tasks.base import SPLITS, Split

KEYS, LOWEST = 88, 21
DRUMS = 9  # this channel's notes are no pitches
SONGS = 2  # the type of a MIDI file whose tracks do not sound together
MOST_FRAMES = 1_000_000
TICKS = 480  # a beat
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
FLAT = {"Db": "C#", "Eb": "D#", "Gb": "F#", "Ab": "G#", "Bb": "A#"}
REST = "-"
Rolls = dict[Split, list["np.ndarray"]]


def matlab(content: bytes) -> Rolls:
    """Rolls of Boulanger-Lewandowski et al. (ICML 2012) as a MATLAB 5 file: cells of bytes, in which nothing runs."""
    from scipy.io import loadmat

    cells = loadmat(io.BytesIO(content), variable_names=[f"{split}data" for split in SPLITS])
    return {split: [np.asarray(roll, np.uint8) for roll in cells[f"{split}data"][0]] for split in SPLITS}


def own_rolls(data: str, frames_per_beat: int) -> Rolls:
    """Return a user's pieces: files in folders `train`, `valid` and `test`, or else by name, parted 80 : 10 : 10.

    Raises UserError for all files that hold something else, with file, array and place.
    """
    pieces: list[tuple[Path, np.ndarray]] = []
    faults: list[Fault] = []
    for path in files(data):
        try:
            pieces += [(path, roll) for roll in rolls_of(path, frames_per_beat)]
        except UserError as error:
            faults += error.faults
    faults += [Fault("one frame, with none after it", where=str(path)) for path, roll in pieces if len(roll) < 2]
    if faults:
        raise UserError(faults)
    root = Path(data).expanduser()  # folders above it may be named for anything
    split_of = {path: path.relative_to(root).parts[0] for path, _ in pieces if path != root}
    folders: Rolls = {split: [roll for path, roll in pieces if split_of.get(path) == split] for split in SPLITS}
    if any(folders.values()):
        apart = [str(path) for path, split in split_of.items() if split not in SPLITS]
        missing = [f"no piece in folder {split!r}" for split in SPLITS if not folders[split]]
        faults = [Fault(what, where=data) for what in missing]
        faults += [Fault("beside the folders of the splits", where=path) for path in apart]
        if faults:
            raise UserError(
                Fault(f.what, where=f.where, allowed="all in folders train, valid and test") for f in faults
            )
        return folders
    if len(pieces) < len(SPLITS):
        raise UserError(Fault(f"{len(pieces)} pieces", where=data, allowed="at least 3, one for each split"))
    held, rolls = max(1, len(pieces) // 10), [roll for _, roll in pieces]
    return {"train": rolls[: -2 * held], "valid": rolls[-2 * held : -held], "test": rolls[-held:]}


def rolls_of(path: Path, frames_per_beat: int) -> list[np.ndarray]:
    """Return the pieces of one file, by its suffix; UserError where it is not what it should be."""
    if path.suffix.lower() in (".mid", ".midi"):
        return [_from_midi(path, frames_per_beat)]
    if path.suffix.lower() != ".npz":
        raise UserError(Fault("neither piano rolls nor MIDI", where=str(path), allowed=".npz, .mid, .midi"))
    named = plain_arrays(path)
    for name, roll in named.items():
        where = f"{path}, array {name!r}"
        if roll.ndim != 2 or roll.shape[1] != KEYS or roll.dtype.kind not in "biuf" or not len(roll):
            what = f"{roll.dtype} of size {roll.shape}"
            raise UserError(Fault(what, where=where, allowed=f"(frames, {KEYS}) of 0 and 1, the first key A0"))
        wrong = (roll != 0) & (roll != 1)
        if wrong.any():
            frame, key = np.argwhere(wrong)[0]
            raise UserError(Fault(f"frame {frame}, key {key}: {roll[frame, key]}", where=where, allowed="0 or 1"))
    return [roll.astype(np.uint8) for roll in named.values()]


def _from_midi(path: Path, frames_per_beat: int) -> np.ndarray:
    """Read what sounds, drums apart, in frames of equal parts of a beat; a note sounds for one frame at least."""
    import mido
    from mido.midifiles.meta import KeySignatureError

    try:
        file = mido.MidiFile(file=io.BytesIO(path.read_bytes()))
        messages = list(mido.merge_tracks(file.tracks))
    except (ValueError, OSError, EOFError, LookupError, TypeError, AttributeError, KeySignatureError) as error:
        raise UserError(Fault(f"not a MIDI file: {error or type(error).__name__}", where=str(path))) from None
    if file.ticks_per_beat <= 0:
        raise UserError(Fault("time in film frames", where=str(path), allowed="time in ticks of a beat"))
    if file.type == SONGS:
        raise UserError(Fault("each track is a song of its own", where=str(path), allowed="MIDI files of type 0 and 1"))
    notes = _notes(messages)
    frames = [(n, round(on * frames_per_beat / file.ticks_per_beat), off) for n, on, off in notes]
    spans = [(n, on, max(on + 1, round(off * frames_per_beat / file.ticks_per_beat))) for n, on, off in frames]
    length = max((off for _, _, off in spans), default=0)
    outside = sorted({n for n, _, _ in spans if not LOWEST <= n < LOWEST + KEYS})
    if outside or not 0 < length <= MOST_FRAMES:
        what = f"note {outside[0]} is on no piano" if outside else f"{length:,} frames"
        allowed = f"notes {LOWEST} to {LOWEST + KEYS - 1}, 1 to {MOST_FRAMES:,} frames"
        raise UserError(Fault(what, where=str(path), allowed=allowed))
    roll = np.zeros((length, KEYS), np.uint8)
    for note, on, off in spans:
        roll[on:off, note - LOWEST] = 1
    return roll


def _notes(messages: Sequence[Any]) -> list[tuple[int, int, int]]:
    """Return (note, tick at which it begins, tick at which it ends) of MIDI messages whose times are differences."""
    now, notes = 0, []
    begun: dict[tuple[int, int], int] = {}
    for message in messages:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == DRUMS:
            continue
        place = message.channel, message.note
        if place in begun:
            notes.append((message.note, begun.pop(place), now))
        if message.type == "note_on" and message.velocity:
            begun[place] = now
    return [*notes, *((note, on, now) for (_, note), on in begun.items())]


def write_midi(path: Path, rolls: Sequence[np.ndarray], frames_per_beat: int) -> None:
    """Write rolls one after the other, a beat of rest between two; a key that sounds on is one long note."""
    import mido

    rest = np.zeros((frames_per_beat, KEYS), bool)
    parts = [part for roll in rolls for part in (np.asarray(roll) > 0, rest)]
    sounding = np.concatenate([rest[:1], *parts])
    track, since = mido.MidiTrack(), 0
    for frame, (before, now) in enumerate(pairwise(sounding)):
        for key in np.flatnonzero(before != now):
            tick = frame * TICKS // frames_per_beat
            kind = "note_on" if now[key] else "note_off"
            track.append(mido.Message(kind, note=int(key) + LOWEST, velocity=64, time=tick - since))
            since = tick
    file = mido.MidiFile(ticks_per_beat=TICKS)
    file.tracks.append(track)
    file.save(path)


def spelt(roll: np.ndarray) -> str:
    """Say a roll in words: frames such as C4+E4+G4, the lowest note first, and "-" where nothing sounds."""
    return " ".join(
        "+".join(f"{NAMES[note % 12]}{note // 12 - 1}" for note in np.flatnonzero(frame) + LOWEST) or REST
        for frame in np.asarray(roll) > 0
    )


def heard(text: str) -> np.ndarray:
    """Return the roll that `spelt` says; flats too (Bb3). UserError names every word that is no frame."""
    roll, faults = np.zeros((len(text.split()), KEYS), np.uint8), []
    for frame, word in enumerate(text.split()):
        for name in word.split("+") if word != REST else []:
            found = re.fullmatch(r"([A-G][#b]?)(-?\d)", name)
            letter = FLAT.get(found[1], found[1]) if found else ""
            note = NAMES.index(letter) + 12 * (int(found[2]) + 1) if found and letter in NAMES else -1
            if LOWEST <= note < LOWEST + KEYS:
                roll[frame, note - LOWEST] = 1
            else:
                faults.append(Fault(f"frame {frame + 1}: no note {name!r}", allowed="A0 to C8, C4+E4+G4, - for a rest"))
    if faults:
        raise UserError(faults)
    return roll
