"""Sound: WAV files, and the log-mel features that speech is read in.

Davis and Mermelstein, IEEE Trans. ASSP 28 (1980), without their cosine transform: a window's power spectrum, summed
under triangles that are even on the mel scale, and its logarithm.
"""

from __future__ import annotations

import io
import wave
from functools import cache
from pathlib import Path

from harness.data import own
from harness.data.read_pairs import read_rows
from harness.errors import Fault, UserError
from harness.late import np
from harness.tasks.base import SPLITS

WINDOW_SECONDS = 0.025
QUIET = 1e-8  # power below which all is silence: that of the last bit of 16
WIDEST = 4.0  # standard deviations that are kept
SCALE = WIDEST / 127


def samples(content: bytes, where: str = "") -> tuple[int, np.ndarray]:
    """Return the rate in Hz and the samples (T,) float32 within -1 to 1 of a WAV file of 8 or 16 bits, channels
    averaged; UserError if it is another file, or empty."""
    try:
        with wave.open(io.BytesIO(content)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            raw = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise UserError(Fault(f"not a WAV file: {error}", where=where, allowed="WAV, PCM of 8 or 16 bits")) from error
    if width not in (1, 2):
        raise UserError(Fault(f"{8 * width} bits a sample", where=where, allowed="WAV, PCM of 8 or 16 bits"))
    raw = raw[: len(raw) // (width * channels) * width * channels]
    if not raw:
        raise UserError(Fault("no sound in it", where=where, allowed="at least one sample"))
    values = np.frombuffer(raw, np.uint8 if width == 1 else "<i2").astype(np.float32)
    zero, full = (128, 128) if width == 1 else (0, 32768)
    return rate, ((values.reshape(-1, channels).mean(1) - zero) / full).astype(np.float32)


@cache
def triangles(rate: int, bins: int, mels: int) -> np.ndarray:
    """Return weights (bins, mels) of triangular filters, even on the scale mel = 2595 log10(1 + f / 700), from 20 Hz
    to half the rate."""
    edges = np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + rate / 1400), mels + 2)
    low, middle, high = (700 * (10 ** (edges[i : mels + i] / 2595) - 1) for i in range(3))
    f = np.linspace(0, rate / 2, bins)[:, None]
    return np.maximum(0, np.minimum((f - low) / (middle - low), (high - f) / (high - middle))).astype(np.float32)


def log_mel(sound: np.ndarray, rate: int, mels: int, hop_ms: int) -> np.ndarray:
    """Return ln of the power under each filter (steps, mels): Hann windows of 25 ms, one each `hop_ms`.

    Sound shorter than a window is filled up with silence, so that there is at least one step.
    """
    window, hop = round(rate * WINDOW_SECONDS), rate * hop_ms // 1000
    size = 1 << (window - 1).bit_length()
    sound = np.pad(sound, (0, max(0, window - len(sound))))
    frames = np.lib.stride_tricks.sliding_window_view(sound, window)[::hop] * np.hanning(window).astype(np.float32)
    power = np.abs(np.fft.rfft(frames, size)) ** 2 / window
    return np.log(np.maximum(power @ triangles(rate, power.shape[1], mels), QUIET)).astype(np.float32)


def statistics(features: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each filter over all steps of the training split."""
    steps = np.concatenate(features)
    return steps.mean(0), np.maximum(steps.std(0), 1e-3)


def quantised(features: list[np.ndarray], mean: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, T, mels) int8, multiples of `SCALE` standard deviations cut at 4, zeros (the mean) beyond each end;
    and lengths (N,)."""
    lengths = np.array([len(x) for x in features], np.int32)
    out = np.zeros((len(features), lengths.max(), len(mean)), np.int8)
    for row, x in zip(out, features, strict=True):
        row[: len(x)] = np.round(np.clip((x - mean) / deviation, -WIDEST, WIDEST) / SCALE)
    return out, lengths


def transcripts(folder: str) -> Path | None:
    """The one TSV file in a folder of recordings; None where their names say what they are."""
    found = [path for path in own.files(folder) if path.suffix == ".tsv"]
    if len(found) > 1:
        raise UserError(Fault(f"{len(found)} TSV files", where=folder, allowed="one: file name, transcript"))
    return found[0] if found else None


def recordings(folder: str) -> list[tuple[str, bytes, str]]:
    """Return (name, content, transcript or label) of a user's WAV files, all faults at once: `label_anything.wav`, or
    with a TSV beside them rows of file name and words."""
    table, root = transcripts(folder), Path(folder).expanduser()
    said = _named(folder) if table is None else _written(table)
    if len(said) < len(SPLITS):
        allowed = "at least 3, one for each split: label_anything.wav, or a TSV of file and words"
        raise UserError(Fault(f"{len(said)} recordings", where=folder, allowed=allowed))
    return [(path.relative_to(root).as_posix(), path.read_bytes(), text) for path, text in sorted(said.items())]


def _named(folder: str) -> dict[Path, str]:
    """What the names of WAV files say is in them."""
    paths = [path for path in own.files(folder) if path.suffix.lower() == ".wav"]
    said = {path: path.stem.partition("_")[0] for path in paths}
    if wrong := [path for path in paths if "_" not in path.stem or not said[path]]:
        raise UserError(
            Fault("its name does not begin with a label", where=str(path), allowed="label_anything.wav, or a TSV")
            for path in wrong
        )
    return said


def _written(table: Path) -> dict[Path, str]:
    """What a TSV says is in the WAV files beside it."""
    said: dict[Path, str] = {}

    def row(line: str) -> None:
        name, _, text = (cell.strip() for cell in line.partition("\t"))
        path = table.parent / name
        if not name or not text:
            raise ValueError(f"no file and words in {line[:40]!r}")
        if not path.is_file() or not path.resolve().is_relative_to(table.parent.resolve()):
            raise ValueError(f"no file {name!r} in this folder")
        if path in said:
            raise ValueError(f"file {name!r} a second time")
        said[path] = text

    read_rows(table, row, "a WAV file beside this one, a tab and its words")
    return said
