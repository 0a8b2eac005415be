"""The `search` of a benchmark file: its kind, tries and space, every fault with its line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field as Limits

from harness.config.grid import SETTINGS, Grid, Key, Reader, fields
from harness.config.wording import Field, shown
from harness.errors import Fault, nearest
from harness.search import KINDS, Choice, Range, Search
from harness.trial import CHANGEABLE, Trial

MOST_TRIES = 10_000
COMMON = ("kind", "tries", "space", "seed")
OWN = {"random": (), "optuna": ("at_once",), "asha": ("grace", "reduction"), "population": ("every",)}
"""Keys that only one kind has."""
NEEDS_TRIES = ("random", "optuna", "population")
ALLOWED = f"one of {', '.join(KINDS)}, or a mapping {{kind, tries, space, ...}}"
BUDGET = "it decides how much is trained or seen, which is held equal for all tries"
NOT_SEARCHED = {
    "task": "each is searched by itself", "cell": "each is searched by itself", "examples": BUDGET,
    "tokens": BUDGET, "evaluations": BUDGET, "select": BUDGET, "shuffled_targets": "it is a control, not a setting",
    "threads": "it changes the time alone", "workers": "it changes the time alone",
    "probe_every": "it changes what is measured alone",
}  # fmt: skip
SIZES = ("hidden_size", "embedding_size", "layers", "bidirectional", "attention", "pointer")
"""What would undo a match."""

_NUMBERS = {
    "tries": Field(Annotated[int, Limits(ge=1, le=MOST_TRIES)]),
    "seed": Field(Annotated[int, Limits(ge=0, lt=2**32)]),
    "at_once": Field(Annotated[int, Limits(ge=1, le=1_000)]),
    "grace": Field(Annotated[int, Limits(ge=1, le=1_000)]),
    "reduction": Field(Annotated[int, Limits(ge=2, le=100)]),
    "every": Field(Annotated[int, Limits(ge=1, le=1_000)]),
}
_NUMBER = Field(float)


def read(value: object, reader: Reader, key: Key) -> Search | None:
    """Return the search that a file states; None: its grids as they are, or a fault, which is noted."""
    before = len(reader.faults)
    given = {"kind": value} if isinstance(value, str) else reader.mapping(value, key, ALLOWED)
    kind = given.get("kind")
    if given and (not isinstance(kind, str) or kind not in KINDS):
        what = f"unknown search {shown(kind)}" if "kind" in given else "no kind of search"
        where = (*key, "kind") if isinstance(value, dict) else key
        reader.refuse(what, where, ", ".join(KINDS), nearest(str(kind)[:80], KINDS))
    if len(reader.faults) > before or not isinstance(kind, str) or (kind == "grid" and len(given) == 1):
        return None
    _known(given, kind, reader, key)
    numbers = {name: _number(given, name, reader, key) for name in _NUMBERS if name in given}
    space = _space(given["space"], reader, (*key, "space"), kind) if "space" in given else {}
    if kind in NEEDS_TRIES:
        for name, what in (("tries", "tries: 16"), ("space", "space: {learning_rate: [0.001, 0.01]}")):
            if name not in given:
                reader.refuse(f"no {name}, without which there is nothing to search", key, remedy=what)
    elif kind == "asha" and ("tries" in given) != ("space" in given):
        there, lacking = ("tries", "space") if "tries" in given else ("space", "tries")
        what = f"{there} without {lacking}"
        reader.refuse(what, (*key, there), "both, or neither: then it stops points of the grid")
    if kind == "population" and numbers.get("tries") == 1:
        reader.refuse("a population of one", (*key, "tries"), "2 or more", "tries: 8")
    if len(reader.faults) > before:
        return None
    return Search(kind, numbers.pop("tries", None), space, **numbers)  # type: ignore[arg-type]


def _known(given: dict[str, Any], kind: str, reader: Reader, key: Key) -> None:
    """Note keys that are none, and those of another kind."""
    allowed = ("kind",) if kind == "grid" else (*COMMON, *OWN[kind])
    owners = {name: owner for owner, names in OWN.items() for name in names}
    for name in given:
        if name in allowed:
            continue
        if name in owners or name in COMMON:
            whose = f"belongs to {owners[name]}" if name in owners else "belongs to a search in a space"
            reader.refuse(f"`{name}` {whose}, not to {kind}", (*key, name), ", ".join(allowed))
        else:
            reader.unknown("key", name, (*key, name), allowed)


def _number(given: dict[str, Any], name: str, reader: Reader, key: Key) -> int:
    """Return a whole number, or note that it is none."""
    if fault := _NUMBERS[name].fault(given[name]):
        reader.refuse(fault[0], (*key, name), fault[1])
        return 1
    return int(given[name])


def _space(value: object, reader: Reader, key: Key, kind: str) -> dict[str, Choice | Range]:
    """Return the space: setting -> its values or range."""
    found = {}
    written = reader.mapping(value, key, "a mapping: settings, each with a list of values or {from, to, scale}")
    if isinstance(value, dict) and not value:
        reader.refuse("an empty space", key, "settings to search", "space: {learning_rate: [0.001, 0.01]}")
    for name, part in written.items():
        at = (*key, name)
        if name in NOT_SEARCHED:
            reader.refuse(f"`{name}` is not searched: {NOT_SEARCHED[name]}", at, remedy="set it in `set` or `sweep`")
        elif name not in SETTINGS:
            reader.unknown("setting", name, at, [setting for setting in SETTINGS if setting not in NOT_SEARCHED])
        elif kind == "population" and name not in CHANGEABLE:
            what = f"`{name}` cannot change while a trial trains"
            reader.refuse(what, at, ", ".join(CHANGEABLE), "list its values in `sweep`")
        elif (dimension := _dimension(name, part, reader, at)) is not None:
            found[name] = dimension
    return found


def _dimension(name: str, value: object, reader: Reader, key: Key) -> Choice | Range | None:
    """Return the values of one setting, or note what is wrong with them."""
    before = len(reader.faults)
    if isinstance(value, dict):
        return _range(name, value, reader, key)
    if not isinstance(value, list) or len(value) < 2:
        reader.refuse(f"got {shown(value)}, which leaves nothing to search", key, "a list of values, or {from, to}")
        return None
    values = reader.values(fields(Trial)[name], value, key)
    if len(reader.faults) > before:
        return None
    if len({repr(each) for each in values}) < len(values):
        reader.refuse("a value stands in the list twice", key, "distinct values")
        return None
    return Choice(tuple(values))


def _range(name: str, value: dict[str, Any], reader: Reader, key: Key) -> Range | None:
    """Return a range of numbers that the setting takes at both ends."""
    before, field = len(reader.faults), fields(Trial)[name]
    for part in value:
        if part not in ("from", "to", "scale"):
            reader.unknown("key", part, (*key, part), ("from", "to", "scale"))
    for end in ("from", "to"):
        if end not in value:
            reader.refuse(f"a range without `{end}`", key, "{from: 0.001, to: 0.1}, and scale: log if wanted")
        elif _NUMBER.fault(value[end]):
            reader.refuse(f"got {shown(value[end])}", (*key, end), "a number")
        elif fault := _fault(field, value[end]):
            reader.refuse(fault[0], (*key, end), fault[1])
    scale = value.get("scale", "linear")
    if scale not in ("linear", "log"):
        reader.unknown("scale", scale, (*key, "scale"), ("linear", "log"))
    if len(reader.faults) > before:
        return None
    low, high = value["from"], value["to"]
    if low >= high:
        reader.refuse(f"a range from {shown(low)} to {shown(high)}", key, "from below to", f"from: {high}, to: {low}")
    elif scale == "log" and low <= 0:
        reader.refuse(f"a range from {shown(low)} has no logarithm", (*key, "from"), "a number above 0")
    whole = field.fault(low + 0.5) is not None
    kind = int if whole else float
    return Range(kind(low), kind(high), scale == "log", whole) if len(reader.faults) == before else None


def _fault(field: Field, end: float) -> tuple[str, str] | None:
    """Return what is wrong with one end; a whole number is a number too."""
    return field.fault(end) and field.fault(float(end))


def conflicts(search: Search, grids: Sequence[Grid], matched: bool, reader: Reader, key: Key = ("search",)) -> None:
    """Note settings of the space that are set elsewhere too, or that would undo what is held equal."""
    for name in search.space:
        at = (*key, "space", name)
        if any(name in grid.choices for grid in grids):
            what = f"`{name}` is set in the grid and searched"
            reader.refuse(what, at, "one of the two", "take it out of `set`, `sweep` or --set")
        if matched and name in SIZES:
            what = f"`{name}` is searched, and `match` solves the size of the network"
            reader.faults.append(Fault(what, reader.where(at), "one of the two", f"remove {name} from the space"))
    if search.kind != "random" and any(count > 1 for grid in grids for count in grid.choices.get("workers", [])):
        what = f"{search.kind} decides on trials of one process, and `workers` asks for several"
        reader.refuse(what, (*key, "kind"), "random or grid, or one worker", "workers: 1")
    if search.kind == "asha":
        points = [each for grid in grids for each in grid.choices.get("evaluations", [10])]
        if points and search.grace >= min(points):
            what = f"grace: {search.grace} of {min(points)} evaluations: no try would be stopped before its end"
            reader.refuse(what, (*key, "grace"), f"1 to {min(points) - 1}", "or more `evaluations`")
