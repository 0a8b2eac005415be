"""Grids: settings, each with the list of its values, and the trials that their product makes.

A value is checked by the type of its own field of Trial, or of the task or cell that it belongs to, so a setting is
declared in one place. Every fault is noted, none is raised here: the reader of the file shows them all at once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any

from pydantic import ValidationError

from harness import registry
from harness.config.wording import Field, reason, shown
from harness.errors import Fault, UserError, nearest
from harness.trial import Trial

Key = tuple[str | int, ...]
Choices = dict[str, list[Any]]

PLUGINS = ("task", "cell")
NOT_SET = {"seed": "`seeds`, at the top of the file", "protocol": "nothing: the code sets it",
           "changes": "`search: {kind: population, ...}`"}  # fmt: skip
SETTINGS = tuple(name for name in Trial.model_fields if name not in NOT_SET)
LONG = 80
"""Characters of a list of what is allowed beyond which it is said once."""
ELSEWHERE = {
    **dict.fromkeys(("lr", "step_size"), "'learning_rate'"),
    **dict.fromkeys(("epochs", "steps", "updates", "max_steps"), "'examples'"),
    **dict.fromkeys(("hidden", "units", "width"), "'hidden_size'"),
    **dict.fromkeys(("clip", "max_grad_norm", "gradient_clip_val"), "'clip_norm'"),
    **dict.fromkeys(("bptt", "tbptt", "window", "truncated_bptt_steps"), "'bptt_length'"),
    **dict.fromkeys(("model", "rnn"), "'cell'"), "seeds": "`seeds` at the top of the file",
}  # fmt: skip
"""What other tools call a setting -> what it is called here, where no letters would tell."""


@dataclass
class Grid:
    """One grid of a sweep: setting -> its values. A task or cell is {"name": name, setting: [values], ...}."""

    where: str
    choices: Choices
    sound: bool = True
    """False where a setting is at fault, so that what follows from it means nothing."""

    def size(self) -> int:
        """Number of points, counted without making any."""
        return math.prod(
            sum(map(_plugin_size, values)) if name in PLUGINS else len(values) for name, values in self.choices.items()
        )

    def points(self, faults: list[Fault]) -> Iterator[Trial]:
        """Yield the trial of each point, with seed 0, without a look at its data; faults of single points are noted."""
        values = {name: self.choices[name] for name in SETTINGS if name in self.choices}
        for kind in PLUGINS:
            values[kind] = [plain for choice in values[kind] for plain in _built(kind, choice, self.where, faults)]
        for point in itertools.product(*values.values()):
            try:
                trial = Trial(**dict(zip(values, point, strict=True)))
                trial.check()
            except ValidationError as error:
                faults.extend(Fault(reason(part), self.where) for part in error.errors())
            except UserError as error:
                faults.extend(replace(fault, where=self.where) for fault in error.faults)
            else:
                yield trial


def normalised(trial: Trial, where: str, faults: list[Fault]) -> Trial | None:
    """Return the normalised trial; None: its data are at fault, which is noted."""
    try:
        return trial.normalised()
    except UserError as error:
        faults.extend(replace(fault, where=f"{where}: {fault.where}".removesuffix(": ")) for fault in error.faults)
        return None


def _plugin_size(choice: Choices) -> int:
    return math.prod(len(values) for name, values in choice.items() if name != "name")


def _built(kind: str, choice: dict[str, Any], where: str, faults: list[Fault]) -> Iterator[dict[str, Any]]:
    """Yield the plain data of a task or cell for each combination of its settings, defaults filled in."""
    names = [name for name in choice if name != "name"]
    for point in itertools.product(*(choice[name] for name in names)):
        try:
            yield registry.build(kind, {"name": choice["name"], **dict(zip(names, point, strict=True))}).plain()
        except ValidationError as error:
            for part in error.errors():
                setting = ".".join(map(str, (kind, *part["loc"])))
                faults.append(Fault(f"{kind} '{choice['name']}': {setting}: {reason(part)}", where))


@cache
def fields(model: type[Any]) -> dict[str, Field]:
    """Return the checkers of a model's settings."""
    return {
        name: Field(Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation)
        for name, info in model.model_fields.items()
    }


class Reader:
    """Turns settings as written into Choices. `where` names the place of a key; faults collect in `faults`.

    `unread`: keys whose value could not be read, so that what is wrong with it is not worth saying.
    """

    def __init__(self, where: Callable[[Key], str], faults: list[Fault], unread: Collection[Key] = ()) -> None:
        self.where = where
        self.faults = faults
        self.unread = unread
        self.consequences: set[Fault] = set()

    def found(self) -> list[Fault]:
        """What is worth saying: each fault once, without those that follow from one that is said. A list of what is
        allowed that takes more than a line stands with the last of the faults that share it."""
        said = [fault for fault in dict.fromkeys(self.faults) if fault not in self.consequences]
        later = {fault.allowed: index for index, fault in enumerate(said) if len(fault.allowed) > LONG}
        return [
            replace(fault, allowed="") if later.get(fault.allowed, index) > index else fault
            for index, fault in enumerate(said)
        ]

    def refuse(self, what: str, key: Key, allowed: str = "", remedy: str = "") -> None:
        """Note a fault."""
        fault = Fault(what, self.where(key), allowed, remedy)
        self.faults.append(fault)
        if any(key[: len(unread)] == unread for unread in self.unread):
            self.consequences.add(fault)

    def unknown(self, kind: str, name: object, key: Key, allowed: Any) -> None:
        """Note an unknown name, with the nearest that is known, or several that were meant as a list."""
        names = [part.strip() for part in str(name)[:200].split(",")]
        several = f"[{', '.join(names)}]" if len(names) > 1 and all(part in allowed for part in names) else ""
        meant = ELSEWHERE.get(str(name)) if kind == "setting" else None
        remedy = several or (f"did you mean {meant}?" if meant else nearest(str(name)[:80], allowed))
        self.refuse(f"unknown {kind} {shown(name)}", key, ", ".join(allowed), remedy)

    def mapping(self, value: object, key: Key, what: str) -> dict[str, Any]:
        """Return a mapping, or note that something else stands in its place."""
        if isinstance(value, dict):
            return value
        self.refuse(f"got {shown(value)}", key, what)
        return {}

    def settings(self, value: object, key: Key) -> Choices:
        """Read a mapping of settings."""
        result: Choices = {}
        for name, values in self.mapping(value, key, "a mapping of settings").items():
            if name in NOT_SET:
                self.refuse(f"`{name}` is not set here", (*key, name), remedy=NOT_SET[name])
            elif name not in SETTINGS:
                self.unknown("setting", name, (*key, name), SETTINGS)
            else:
                result[name] = self.choices(name, values, (*key, name))
        return result

    def choices(self, name: str, value: object, key: Key) -> list[Any]:
        """Read the values of one setting: a list sweeps, anything else is the one value."""
        if name in PLUGINS:
            read = [self.plugin(name, part, inner) for part, inner in self.each(value, key)]
            return [choice for choice in read if choice is not None]
        return self.values(fields(Trial)[name], value, key)

    def values(self, field: Field, value: object, key: Key) -> list[Any]:
        """Check each value by the field's type."""
        for part, inner in self.each(value, key):
            if fault := field.fault(part):
                what, allowed = fault
                whole = isinstance(part, float) and part.is_integer() and field.fault(int(part)) is None
                self.refuse(what, inner, allowed, remedy=str(int(part)) if whole else "")
        return [part for part, _ in self.each(value, key, quiet=True)]

    def each(self, value: object, key: Key, quiet: bool = False) -> list[tuple[Any, Key]]:
        """Return the values of a list with their keys, or the one value with its own."""
        if not isinstance(value, list):
            return [(value, key)]
        if not value and not quiet:
            self.refuse("got an empty list, which sweeps nothing", key, "a value, or a list of values")
        return [(part, (*key, index)) for index, part in enumerate(value)]

    def plugin(self, kind: str, value: object, key: Key) -> dict[str, Any] | None:
        """Read a task or cell: a name, or {name: ..., its settings}; lists in the settings sweep."""
        known = registry.members(f"harness.{kind}s")
        written = {"name": value} if isinstance(value, str) else value
        if not isinstance(written, dict) or "name" not in written:
            allowed = f"a name, or {{name: ..., its settings}}; names: {', '.join(known)}"
            self.refuse(f"got {shown(value)}", key, allowed)
            return None
        name = written["name"]
        if not isinstance(name, str) or name not in known:
            self.unknown(kind, name, key, known)
            return None
        choice: dict[str, Any] = {"name": name}
        checks = fields(known[name])
        for setting, part in written.items():
            if setting in checks:
                choice[setting] = self.values(checks[setting], part, (*key, setting))
            elif setting != "name":
                self.unknown(f"setting of {kind} '{name}':", setting, (*key, setting), list(checks) or ["(none)"])
        return choice
