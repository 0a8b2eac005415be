"""`--set key=value`: one setting replaced in every grid of a benchmark, without editing the file.

The value is read as in a file, except that numbers are read as Python reads them (`1e-3`). `task` and `cell` keep the
settings that the file gives to the name; `task.length=20` sets one setting of every task that has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from harness import registry
from harness.config import yamlfile
from harness.config.grid import PLUGINS, SETTINGS, Grid, Reader, fields
from harness.config.wording import plain
from harness.errors import Fault, UserError
from harness.trial import CLIPPING

EXCLUSIVE = (("examples", "tokens"), tuple(CLIPPING))
"""Settings of which a trial has one: overriding it takes the others out."""


@dataclass(frozen=True)
class Override:
    """One override as typed, its key and its plain value."""

    text: str
    key: str
    value: Any

    def where(self, key: tuple[str | int, ...] = ()) -> str:
        """Place for a Fault."""
        return f"--set {plain(self.text)}"

    def apply(self, grids: list[Grid], faults: list[Fault]) -> None:
        """Put the value in place of the setting in every grid."""
        kind, dot, setting = self.key.partition(".")
        if dot:
            self._apply_inside(kind, setting, grids, faults)
        elif self.key in SETTINGS:
            values = Reader(self.where, faults).choices(self.key, self.value, ())
            if self.key in PLUGINS:
                values = self._as_in_file(values, grids)
            for grid in grids:
                for group in EXCLUSIVE:
                    if self.key in group and self.value is not None:
                        grid.choices = {key: own for key, own in grid.choices.items() if key not in group}
                grid.choices[self.key] = values

    def _as_in_file(self, choices: list[dict[str, Any]], grids: list[Grid]) -> list[dict[str, Any]]:
        """Return each choice that is only a name as the file has it, with its settings there."""
        there = [choice for grid in grids for choice in grid.choices.get(self.key, [])]
        result: list[dict[str, Any]] = []
        for choice in choices:
            same = [known for known in there if known["name"] == choice["name"] and choice.keys() == {"name"}]
            result += [found for found in same or [choice] if found not in result]
        return result

    def _apply_inside(self, kind: str, setting: str, grids: list[Grid], faults: list[Fault]) -> None:
        """Set one setting of the tasks or cells that have it."""
        known = registry.members(f"harness.{kind}s")
        checks: dict[str, Any] = {}
        for grid in grids:
            for choice in grid.choices.get(kind, []):
                own = fields(known[choice["name"]])
                checks |= own
                if setting in own:
                    choice[setting] = Reader(self.where, []).values(own[setting], self.value, ())
        reader = Reader(self.where, faults)
        if setting in checks:
            reader.values(checks[setting], self.value, ())
        else:
            reader.unknown(f"setting of this benchmark's {kind}s:", setting, (), list(checks) or ["(none)"])


def read_all(texts: Iterable[str], faults: list[Fault]) -> list[Override]:
    """Return the overrides, those of `task` and `cell` before their settings; note every fault."""
    found = [override for text in texts if (override := _read(text, faults))]
    return sorted(found, key=lambda override: override.key not in PLUGINS)


def _read(text: str, faults: list[Fault]) -> Override | None:
    """Return one override, or note what is wrong with it."""
    key, equals, raw = text.partition("=")
    override = Override(text, key, raw)
    reader = Reader(override.where, faults)
    if not equals or not raw.strip():
        reader.refuse("no value", (), "key=value", f"--set {plain(key) or 'key'}=null" if equals else "")
        return None
    if key == "name":
        return override
    allowed = ("name", "seeds", *SETTINGS)
    if key not in allowed and not key.startswith(("task.", "cell.")):
        reader.unknown("setting", key, (), (*allowed, "task.<setting>", "cell.<setting>"))
        return None
    try:
        return replace(override, value=yamlfile.parse(raw, "", python_numbers=True).data)
    except UserError as error:
        faults.extend(replace(fault, where=override.where()) for fault in error.faults)
        return None
