"""Names to classes. A cell or a task is plugged in by existing: one file, one class, the file's name.

Nothing is registered by hand. `members` finds every file of a package and takes from each the one class that it
defines on the package's base class; `tests/contracts/` runs every law over what it finds.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, cast

from pydantic import BaseModel, ConfigDict

from harness.errors import Fault, UserError, nearest


class Plugin(BaseModel):
    """Base of everything that is plugged in by existing. Its annotated fields are its settings, checked strictly."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True)

    @classmethod
    def plugin_name(cls) -> str:
        """The file's name, hyphens for underscores: `image_generation.py` is `image-generation`."""
        return cls.__module__.rpartition(".")[2].replace("_", "-")

    @classmethod
    def summary(cls) -> str:
        """First line of the docstring, for `harness list`."""
        return (cls.__doc__ or "").strip().partition("\n")[0]

    def plain(self) -> dict[str, Any]:
        """Name and every setting, defaults included, as plain data: what a Trial stores and hashes."""
        return {"name": self.plugin_name(), **self.model_dump(mode="json")}


class Members(Mapping[str, type[Plugin]]):
    """Name -> class for every file of a package, sorted by name. A file is imported when its class is asked for: a
    benchmark waits for the tasks and cells that it names, and not for all that there are."""

    def __init__(self, package: str) -> None:
        self.package = package
        files = [info.name for info in pkgutil.iter_modules(importlib.import_module(package).__path__)]
        plugged_in = (file for file in files if file != "base" and not file.startswith("_"))
        self.files = dict(sorted((file.replace("_", "-"), file) for file in plugged_in))

    def __getitem__(self, name: str) -> type[Plugin]:
        return _plugin_of(f"{self.package}.{self.files[name]}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


@cache
def _plugin_of(module_name: str) -> type[Plugin]:
    """Import a file and return the one plug-in class that it defines."""
    module = importlib.import_module(module_name)
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Plugin) and value.__module__ == module.__name__
    ]
    names = [kind.__name__ for kind in own]
    assert len(own) == 1, f"{module_name} must define exactly one plug-in class, has {names or 'none'}"
    return own[0]


@cache
def members(package: str) -> Members:
    """Return name -> class for every file of `package` ("harness.cells")."""
    return Members(package)


def lookup(kind: str, name: object) -> type[Plugin]:
    """Return the class of a cell or task by name (`kind` is "cell" or "task"); UserError names the nearest one."""
    known = members(f"harness.{kind}s")
    if not isinstance(name, str) or name not in known:
        hint = nearest(name, known)
        raise UserError(Fault(f"unknown {kind} {name!r}", allowed=", ".join(known), remedy=hint))
    return known[name]


def build(kind: str, plain: dict[str, Any]) -> Any:
    """Build a cell or task from plain data, as stored in a Trial: {"name": ..., setting: value, ...}."""
    settings = {key: value for key, value in plain.items() if key != "name"}
    return cast(Any, lookup(kind, plain.get("name")))(**settings)
