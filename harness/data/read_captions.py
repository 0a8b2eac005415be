"""Pictures with sentences that are true of them, as grids of mean colours."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data import read_pairs, read_shapes, sources
from harness.data.archives import members
from harness.data.own import dealt
from harness.data.read_sentences import words_of
from harness.errors import Fault, UserError
from harness.late import np
from harness.tasks.base import SPLITS, Split

MOST_PIXELS = 50_000_000
STOPS = ".!?"
"""Left out at the end of a sentence."""
NEAR = 1.02
"""Widths over heights that differ by less than this factor are the same."""
LETTERS = {
    "#": (0, 0, 0), ":": (128, 128, 128), ".": (211, 211, 211), " ": (255, 255, 255), "R": (220, 30, 30),
    "G": (20, 150, 50), "B": (0, 110, 255), "Y": (255, 240, 0),
}  # fmt: skip
"""What a colour is written as, where a picture is shown in a text."""


@dataclass
class Captioned:
    """A picture as mean colours (rows, columns, 3) in 8 bits, and sentences that are true of it."""

    colours: np.ndarray
    sentences: list[str] = field(default_factory=list)


Splits = dict[Split, list[Captioned]]


def opened(content: bytes, where: str) -> Any:
    """Return a picture (Pillow, RGB), what is transparent in it white; UserError for anything else."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as file:
            if file.width * file.height > MOST_PIXELS:
                what = f"{file.width} x {file.height} pixels"
                raise UserError(Fault(what, where=where, allowed=f"at most {MOST_PIXELS:,} pixels"))
            seen = file.convert("RGBA")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(Fault(f"no picture that can be read: {error}", where=where, allowed="a PNG or JPEG")) from error
    white = Image.new("RGBA", seen.size, "white")
    white.alpha_composite(seen)
    return white.convert("RGB")


def coarse(picture: Any, rows: int, columns: int) -> np.ndarray:
    """Return the mean colour of each of rows x columns equal fields, (rows, columns, 3) in 8 bits."""
    from PIL import Image

    return np.asarray(picture.resize((columns, rows), Image.Resampling.BOX))


def columns_of(width: int, height: int, rows: int) -> int:
    """Columns that make the fields of a picture about square."""
    return max(1, round(rows * width / height))


def ask(path: str, rows: int, columns: int) -> np.ndarray:
    """Return the colours (rows, columns, 3) of a user's picture; UserError if its form is not that of the task."""
    place = Path(path).expanduser()
    if not place.is_file():
        raise UserError(Fault("no picture is there", where=path, allowed="the path of a PNG or JPEG"))
    picture = opened(place.read_bytes(), path)
    if columns_of(picture.width, picture.height, rows) != columns:
        what = f"{picture.width} x {picture.height} pixels"
        raise UserError(Fault(what, where=path, allowed=f"a picture {columns / rows:.2f} times as wide as it is high"))
    return coarse(picture, rows, columns)


def drawn(rows: int) -> Splits:
    """Coloured shapes (read_shapes.py)."""
    from PIL import Image

    return {
        split: [
            Captioned(coarse(Image.fromarray(pixels), rows, rows), scene.sentences)
            for pixels, scene in read_shapes.pictures(split)
        ]
        for split in SPLITS
    }


def nlvr(rows: int) -> Splits:
    """NLVR (Suhr et al., ACL 2017): pictures of which people's sentences are true.

    Its training file is not among the copies, so this is not the canonical split: test.json tests; dev.json and
    hidden.json train, but for each tenth of their sentences (by its number), whose pictures validate.
    """
    kept = members(sources.read("nlvr", "images.zip"))
    found: list[tuple[Split, str, bytes, str]] = []
    for file in ("test", "dev", "hidden"):
        for line in sources.read("nlvr", f"{file}.json").decode().splitlines():
            row = json.loads(line)
            if row["label"] == "true":
                number, copy = row["identifier"].split("-")
                name = f"{file}/{file}-{number}-{copy}-0.png"
                split: Split = "test" if file == "test" else "valid" if int(number) % 10 == 0 else "train"
                found.append((split, name, kept[name], row["sentence"]))
    return _gathered(found, rows)


def own(data: str, rows: int) -> Splits:
    """A folder of a user's: pictures, and captions.tsv of `picture<TAB>sentence`, a line for each sentence.

    Split 80 / 10 / 10 % by a hash of the picture's name. UserError names each line that is wrong.
    """
    root = Path(data).expanduser()
    if not (root / "captions.tsv").is_file():
        raise UserError(Fault("no captions.tsv", where=data, allowed="a folder of pictures and captions.tsv"))

    pictures: dict[str, bytes] = {}

    def named(line: str) -> tuple[str, str]:
        name, _, text = (cell.strip() for cell in line.partition("\t"))
        if not words_of(text.rstrip(STOPS)):
            raise ValueError(f"no sentence in {line[:40]!r}")
        if not (root / name).is_file() or not (root / name).resolve().is_relative_to(root.resolve()):
            raise ValueError(f"no picture {name!r} in this folder")
        if name not in pictures:
            content = (root / name).read_bytes()
            opened(content, name)
            pictures[name] = content
        return name, text

    pairs = read_pairs.read_rows(root / "captions.tsv", named, "the name of a picture, a tab and a sentence")
    if len({name for name, _ in pairs}) < len(SPLITS):
        raise UserError(Fault("fewer than 3 pictures", where=str(root / "captions.tsv"), allowed="one for each split"))
    split_of = dealt(sorted({name for name, _ in pairs}))
    order = sorted(pairs, key=lambda pair: SPLITS[::-1].index(split_of[pair[0]]))
    return _gathered([(split_of[name], name, pictures[name], text) for name, text in order], rows)


def _gathered(found: Iterable[tuple[Split, str, bytes, str]], rows: int) -> Splits:
    """Gather the sentences of equal pictures. One that is met again in a later split is left out there: what is tested
    comes first, so that no picture is both tested and trained on."""
    known: dict[str, tuple[Split, Captioned]] = {}
    form = 0.0
    for split, name, content, text in found:
        picture = opened(content, name)
        form = form or picture.width / picture.height
        if not 1 / NEAR < picture.width / picture.height / form < NEAR:
            what = f"{picture.width} x {picture.height} pixels"
            raise UserError(Fault(what, where=name, allowed=f"{form:.2f} times as wide as high, as the first picture"))
        key = hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()
        if key not in known:
            columns = columns_of(picture.width, picture.height, rows)
            known[key] = split, Captioned(coarse(picture, rows, columns))
        if known[key][0] == split:
            known[key][1].sentences.append(text)
    return {split: [one for there, one in known.values() if there == split] for split in SPLITS}


def letters(colours: np.ndarray) -> str:
    """A picture (rows, columns, 3), 0 to 255, in letters: lines of R, G, B, Y, # for black and . for light grey."""
    palette = np.array([*LETTERS.values()], float)
    nearest = ((colours[:, :, None].astype(float) - palette) ** 2).sum(3).argmin(2)
    return "\n".join("".join([*LETTERS][i] for i in row) for row in nearest)
