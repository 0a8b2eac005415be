"""Drawn pictures of coloured shapes, with sentences from templates: synthetic, and without end.

A picture shows one to three shapes of one kind, size and colour at one of five places. Which combinations of number,
size, colour and kind are held out is stated by `split_of`; places and pixels vary freely.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from harness.late import np
from harness.tasks.base import SPLITS, Split

SIDE = 60
"""Pixels of a picture's edge."""
BACKGROUND = (211, 211, 211)
COLOURS = {"red": (220, 30, 30), "green": (20, 150, 50), "blue": (0, 90, 255), "yellow": (255, 225, 0)}
KINDS = ("circle", "square", "triangle")
SIZES = {"small": 3, "large": 6}
"""Half of the edge, in pixels."""
COUNTS = ("one", "two", "three")
PLACES = {"top left": (13, 13), "top right": (13, 46), "bottom left": (46, 13), "bottom right": (46, 46)}
MIDDLE = "middle"
SPREAD = 11
"""How far shapes may lie from their place, in pixels and in each direction."""
AMOUNTS: dict[Split, int] = {"train": 4_000, "valid": 500, "test": 500}


@dataclass(frozen=True)
class Scene:
    """What a picture shows, each as a place in the lists above."""

    count: int
    size: int
    colour: int
    kind: int
    place: int

    @property
    def split(self) -> Split:
        """One combination in nine tests and one validates, so that each pair of two properties is trained on."""
        rest = (self.count + self.kind + 3 * (self.size + self.colour) + self.colour) % 9
        return "test" if rest == 0 else "valid" if rest == 4 else "train"

    @property
    def sentences(self) -> list[str]:
        """The same said in three ways."""
        what = " ".join([COUNTS[self.count], [*SIZES][self.size], [*COLOURS][self.colour], KINDS[self.kind]])
        what, verb = (what + "s", "are") if self.count else (what, "is")
        where = "in the middle" if self.place == len(PLACES) else f"at the {[*PLACES][self.place]}"
        return [f"{what} {where}", f"there {verb} {what} {where}", f"{where} there {verb} {what}"]


def scenes(split: Split) -> list[Scene]:
    """All that a split may show, in order."""
    ranges = (len(COUNTS), len(SIZES), len(COLOURS), len(KINDS), len(PLACES) + 1)
    every = (Scene(*at) for at in itertools.product(*map(range, ranges)))
    return [scene for scene in every if scene.split == split]


def draw(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Return a picture (SIDE, SIDE, 3) in 8 bits; shapes do not touch."""
    radius = [*SIZES.values()][scene.size]
    down, right = [*PLACES.values(), (SIDE // 2, SIDE // 2)][scene.place]
    least, most = radius, SIDE - 1 - radius
    spots: list[tuple[int, int]] = []
    while len(spots) <= scene.count:
        by = rng.integers(-SPREAD, SPREAD + 1, 2).tolist()
        spot = min(max(down + by[0], least), most), min(max(right + by[1], least), most)
        if all(max(abs(spot[0] - other[0]), abs(spot[1] - other[1])) > 2 * radius + 1 for other in spots):
            spots.append(spot)
        elif not rng.integers(20):  # no room is left: begin anew
            spots.clear()
    picture = np.full((SIDE, SIDE, 3), BACKGROUND, np.uint8)
    for spot in spots:
        picture[_inside(KINDS[scene.kind], spot, radius)] = [*COLOURS.values()][scene.colour]
    return picture


def _inside(kind: str, spot: tuple[int, int], radius: int) -> np.ndarray:
    """Which pixels (SIDE, SIDE) a shape covers."""
    down, right = np.mgrid[:SIDE, :SIDE] - np.array(spot)[:, None, None]
    if kind == "circle":
        return down**2 + right**2 <= radius**2
    if kind == "square":
        return np.maximum(abs(down), abs(right)) <= radius
    return (abs(down) <= radius) & (2 * abs(right) <= down + radius)


def pictures(split: Split) -> list[tuple[np.ndarray, Scene]]:
    """Return the pictures of a split, the same every time: each scene as often as any other, but for the remainder."""
    rng, known = np.random.default_rng([7, SPLITS.index(split)]), scenes(split)
    order = [rng.permutation(len(known)) for _ in range(-(-AMOUNTS[split] // len(known)))]
    return [(draw(known[i], rng), known[i]) for i in np.concatenate(order)[: AMOUNTS[split]]]
