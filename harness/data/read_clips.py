"""Clips: tracks of joints as arrays of numpy, and small films of digits that bounce."""

from __future__ import annotations

from harness.data.read_arrays import NUMBERS, arrays_of
from harness.errors import Fault, UserError
from harness.late import np

FRAME, DIGIT, FRAMES = 32, 14, 15
"""Pixels of a side of a film and of a digit in it, and frames of a film."""
WORDS = "U"
"""The kind of numpy that labels may have besides numbers."""
FASTEST = 3
"""Pixels a frame; halfway a digit is as far from each wall, so that it comes and goes in one direction."""
DIRECTIONS = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")
COMPASS = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]
"""(rows, columns) of a step in each direction."""


def tracks(content: bytes, where: str = "") -> tuple[list[np.ndarray], list[str]]:
    """Return clips (T, joints, 2) and labels of an .npz with pose (sum of T, joints, 2), length (N,) and label (N,).

    Raises UserError for another file or sizes that do not fit; no pickle is loaded.
    """
    allowed = "an .npz of pose (sum of T, joints, 2), length (N,) and label (N,)"
    found = arrays_of(content, where, NUMBERS + WORDS)
    if missing := [name for name in ("pose", "length", "label") if name not in found]:
        raise UserError(Fault(f"no array {name!r}", where=where, allowed=allowed) for name in missing)
    pose, length, label = found["pose"], found["length"], found["label"]
    faults = []
    if pose.ndim != 3 or pose.shape[2] != 2 or not pose.shape[1] or pose.dtype.kind != "f":
        faults.append(f"pose is {pose.dtype} of size {pose.shape}")
    elif not np.isfinite(pose).all():
        faults.append(f"pose holds {np.count_nonzero(~np.isfinite(pose))} values that are no finite numbers")
    if length.ndim != 1 or length.dtype.kind not in "iu" or not length.size:
        faults.append(f"length is {length.dtype} of size {length.shape}")
    elif length.min() < 1:
        faults.append(f"clip {length.argmin()} has {length.min()} frames")
    elif length.sum() != len(pose):
        faults.append(f"lengths add up to {length.sum()}, pose has {len(pose)} frames")
    if label.shape != length.shape:
        faults.append(f"{label.size} labels for {length.size} clips")
    if faults:
        raise UserError(Fault(what, where=where, allowed=allowed) for what in faults)
    return np.split(pose, np.cumsum(length)[:-1]), [str(name) for name in label]


def centred(clip: np.ndarray) -> np.ndarray:
    """Return a clip (T, joints, 2) as features (T, 2 joints): less its mean over frames and joints, over the root mean
    square of what is left; so neither place nor size of the person counts, while the way that is gone stays."""
    clip = clip - clip.mean((0, 1))
    return (clip / max(float(np.sqrt((clip**2).mean())), 1e-6)).reshape(len(clip), -1).astype(np.float32)


def bouncing(images: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return films (count, FRAMES, FRAME * FRAME) of bytes, and in which direction (count,) both digits go halfway.

    Two digits of `images` (N, 28, 28), halved in size, are halfway at any place inside and both go in one of eight
    directions, each at its own 1 to 3 pixels a frame; at a wall the motion across it turns round (Srivastava, Mansimov,
    Salakhutdinov, arXiv:1502.04681). Where they overlap the brighter pixel is seen. Backwards a film is as likely and
    its direction the opposite: what sees no order among the frames is right half the time at best.
    """
    rng = np.random.default_rng([4, seed])
    small = images.reshape(len(images), DIGIT, 2, DIGIT, 2).mean((2, 4)).astype(np.uint8)
    direction = rng.integers(0, len(COMPASS), count)
    films = np.zeros((count, FRAMES, FRAME, FRAME), np.uint8)
    room, time, row = FRAME - DIGIT, np.arange(FRAMES) - FRAMES // 2, np.arange(count)
    for _ in range(2):
        chosen, halfway = rng.integers(0, len(small), count), rng.integers(FASTEST, room + 1 - FASTEST, (count, 2))
        speed = rng.integers(1, FASTEST + 1, count)[:, None] * np.array(COMPASS)[direction]
        way = (halfway[:, None] + speed[:, None] * time[:, None]) % (2 * room)
        place = np.minimum(way, 2 * room - way)  # (count, FRAMES, 2): a walk to and fro
        for t in range(FRAMES):
            window = np.lib.stride_tricks.sliding_window_view(films[:, t], (DIGIT, DIGIT), (1, 2), writeable=True)
            there = row, place[:, t, 0], place[:, t, 1]
            window[there] = np.maximum(window[there], small[chosen])
    return films.reshape(count, FRAMES, -1), direction
