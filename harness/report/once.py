"""What every format asks of a table is found out once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

G = TypeVar("G")
F = TypeVar("F")


def once(find: Callable[[G], F]) -> Callable[[G], F]:
    """Let every format ask anew, and find out once: what is found is kept with the group that it was found for."""
    name = _name(find)

    @wraps(find)
    def kept(group: G) -> F:
        if name not in vars(group):
            vars(group)[name] = find(group)
        return vars(group)[name]

    return kept


def forget(find: Callable[[G], F], group: G) -> None:
    """Forget what was found: nobody asks for it any more, and it is large."""
    vars(group).pop(_name(find), None)


def _name(find: Callable[[G], F]) -> str:
    return f"{find.__module__}.{find.__qualname__}"
