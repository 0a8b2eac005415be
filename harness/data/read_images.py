"""Pictures of black and white, from npz and to PNG; a pixel is white from half of full brightness on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from harness.data.own import files
from harness.data.read_arrays import plain_arrays
from harness.errors import Fault, UserError
from harness.late import np
from harness.tasks.base import SPLITS, Split

GAP, GREY, SCALE = 1, 0.5, 4  # pixels between two pictures of a grid, their colour, and points for each pixel


def own_pictures(data: str) -> dict[Split, np.ndarray]:
    """Return a user's pictures (N, H, W) of 0 and 1: arrays named for the splits, or one, parted 80 : 10 : 10."""
    arrays: dict[str, np.ndarray] = {}
    for path in files(data):
        found = pictures_of(path)
        if twice := sorted(set(arrays) & set(found)):
            what = f"array {twice[0]!r} was in another file already"
            raise UserError(Fault(what, where=str(path), allowed="each name once"))
        arrays |= found
    if len({found.shape[1:] for found in arrays.values()}) > 1:
        sizes = ", ".join(f"{name} {found.shape}" for name, found in arrays.items())
        raise UserError(Fault(f"pictures of more than one size: {sizes}", where=data, allowed="one size"))
    if set(arrays) == set(SPLITS):
        return {split: arrays[split] for split in SPLITS}
    if len(arrays) != 1:
        raise UserError(Fault(f"arrays {', '.join(arrays)}", where=data, allowed="train, valid and test, or one array"))
    (whole,) = arrays.values()
    if len(whole) < len(SPLITS):
        raise UserError(Fault(f"{len(whole)} pictures", where=data, allowed="at least 3, one for each split"))
    held = max(1, len(whole) // 10)
    return {"train": whole[: -2 * held], "valid": whole[-2 * held : -held], "test": whole[-held:]}


def pictures_of(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file as pictures of 0 and 1: bytes by 255, floats and truth values by 1."""
    found = {}
    for name, array in plain_arrays(path).items():
        where = f"{path}, array {name!r}"
        if array.ndim != 3 or not array.size or not (array.dtype == np.uint8 or array.dtype.kind in "bf"):
            what, allowed = f"{array.dtype} of size {array.shape}", "(N, height, width), bytes or floats from 0 to 1"
            raise UserError(Fault(what, where=where, allowed=allowed))
        most = 255 if array.dtype == np.uint8 else 1
        wrong = ~((array >= 0) & (array <= most))
        if wrong.any():
            place = tuple(map(int, np.argwhere(wrong)[0]))
            raise UserError(Fault(f"picture, row, column {place}: {array[place]}", where=where, allowed="0 to 1"))
        if array.dtype == np.uint8 and array.max() == 1:
            what, allowed = "bytes of at most 1, which would all be black", "bytes up to 255, or truth values"
            raise UserError(Fault(what, where=where, allowed=allowed, remedy="array.astype(bool)"))
        found[name] = (array >= most / 2).astype(np.uint8)
    return found


def shown(rows: np.ndarray) -> str:
    """A picture in letters, a line a row."""
    return "\n".join("".join("#" if pixel else "." for pixel in row) for row in rows)


def write_grid(path: Path, pictures: Sequence[np.ndarray]) -> None:
    """Write pictures (H, W), of which shorter ones end in black, side by side as a PNG."""
    from matplotlib.image import imsave

    height, width = max(len(rows) for rows in pictures), pictures[0].shape[1]
    columns = math.ceil(math.sqrt(len(pictures)))
    lines = math.ceil(len(pictures) / columns)
    grid = np.full((lines * (height + GAP) - GAP, columns * (width + GAP) - GAP), GREY)
    for number, rows in enumerate(pictures):
        top, left = number // columns * (height + GAP), number % columns * (width + GAP)
        grid[top : top + height, left : left + width] = 0
        grid[top : top + len(rows), left : left + width] = rows > 0
    imsave(path, np.kron(grid, np.ones((SCALE, SCALE))), cmap="gray", vmin=0, vmax=1, format="png")
