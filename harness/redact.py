"""Secrets out of what leaves this machine: of a path its last name, of a secret nothing.

A secret is a value of an environment variable that is named like one, and what looks like a key of a known maker.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

HIDDEN = "***"
SHORTEST = 8
"""Characters of the shortest value of a variable that is hidden: hiding `1` or `token` would leave no text readable."""
_NAMED = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|PRIVATE", re.IGNORECASE)
_MADE = (
    r"\b(?:sk-|hf_|gh[opsu]_|github_pat_|glpat-|xox[abpr]-|AKIA|ASIA|wandb_v\d_)[A-Za-z0-9_-]{12,}"
    r"|(?<=://)[^/\s@]+@"  # user:password@
    r"|(?<=[?&;])\w*(?:key|token|secret|password|signature)\w*=[^&\s]+"
)
_SURE = re.compile(_MADE, re.IGNORECASE)
_KEYS = re.compile(_MADE + r"|\b[0-9a-f]{40}\b", re.IGNORECASE)  # of so many digits are W&B's keys, of old
_COMMIT = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{28}\b", re.IGNORECASE)


def text(words: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the words with every secret in them hidden."""
    return _hidden(words, _secrets(environment))


def setting(value: Any, environment: Mapping[str, str] = os.environ) -> Any:
    """Return plain data with secrets hidden, and of each path or address only its last name: folders tell of people."""
    return _setting(value, _secrets(environment))


def revision(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return a git revision as a message may tell it: of 40 hex digits the first twelve, by which git finds a commit.

    A key of W&B, typed where a revision belongs, looks the same; 28 of its digits, 112 bits, then stay unsaid. A secret
    of the environment is hidden as everywhere.
    """
    return _COMMIT.sub(r"\1…", _without(name, _secrets(environment)))


def held(words: str, environment: Mapping[str, str] = os.environ) -> str:
    """Say which secret the words surely hold, without it; "" for none.

    Less than is hidden: 40 hex digits also name a folder of a cache, and the value of a variable may be a path here.
    """
    for name, value in _named(environment).items():
        if value in words and not os.path.exists(value):
            return f"the value of the variable {name}"
    return "what looks like a key or a password" if _SURE.search(words) else ""


def _named(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables whose values are secrets."""
    return {name: value for name, value in environment.items() if len(value) >= SHORTEST and _NAMED.search(name)}


def _secrets(environment: Mapping[str, str]) -> list[str]:
    """Return the values to hide, the longest first."""
    return sorted(_named(environment).values(), key=len, reverse=True)


def _hidden(words: str, secrets: Sequence[str]) -> str:
    return _KEYS.sub(HIDDEN, _without(words, secrets))


def _without(words: str, secrets: Sequence[str]) -> str:
    for value in secrets:
        words = words.replace(value, HIDDEN)
    return words


def _setting(value: Any, secrets: Sequence[str]) -> Any:
    if isinstance(value, dict):
        return {key: _setting(each, secrets) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_setting(each, secrets) for each in value]
    if not isinstance(value, str):
        return value
    parts = re.split(r"[/\\]", _hidden(value, secrets).split("?")[0].rstrip("/\\"))
    return parts[0] if len(parts) == 1 else f"…/{parts[-1]}"
