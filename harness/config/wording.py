"""How values, keys and what is allowed are put into words: one line, safe for a terminal, never long."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

STRICT = ConfigDict(strict=True, allow_inf_nan=False)


def plain(text: str) -> str:
    """Return text as it is, or quoted and cut where it would upset a terminal or fill it."""
    return text if text.isprintable() and len(text) <= 200 else f"{text[:200]!r}{'...' * (len(text) > 200)}"


def shown(value: object) -> str:
    """Return a value as the user would type it, cut after 60 characters."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list):
        inner = ", ".join(shown(part) for part in value[:10])
        text = f"[{inner}{', ...' * (len(value) > 10)}]"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{plain(key)}: {shown(part)}" for key, part in list(value.items())[:10]) + "}"
    else:
        text = repr(value[:60] if isinstance(value, str) else value)
    return text if len(text) <= 62 else f"{text[:56]}..."


def dotted(key: tuple[str | int, ...]) -> str:
    """Write a key as it is read: `sweep[0].hidden_size`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{plain(part)}" for part in key).removeprefix(".")


class Field:
    """One setting of a pydantic model: its own type, strict, and what it allows in words."""

    def __init__(self, annotation: Any) -> None:
        self.adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=STRICT)

    def fault(self, value: object) -> tuple[str, str] | None:
        """Return what is wrong with a value and what is allowed, or None."""
        try:
            self.adapter.validate_python(value)
        except ValidationError as error:
            return f"got {shown(value)}", in_words(self.adapter.json_schema()) or reason(error.errors()[0])
        return None


def reason(error: Any) -> str:
    """Return the message of one of pydantic's errors without its prefix."""
    return str(error["msg"]).removeprefix("Value error, ")


def in_words(schema: dict[str, Any]) -> str:
    """Say what a JSON schema allows: "a whole number of at least 1, or null"."""
    if "anyOf" in schema:
        return ", or ".join(filter(None, map(in_words, schema["anyOf"])))
    if "enum" in schema:
        return ", ".join(str(choice) for choice in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    kind = {
        "integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text",
        "null": "null", "array": "a list", "object": "a mapping",
    }.get(schema.get("type", ""), "")  # fmt: skip
    return " ".join(filter(None, [kind, _bounds(schema)]))


def _bounds(schema: dict[str, Any]) -> str:
    """Say the range of a number."""
    words = {
        "minimum": "of at least", "exclusiveMinimum": "greater than",
        "maximum": "of at most", "exclusiveMaximum": "below",
    }  # fmt: skip
    if "minimum" in schema and "maximum" in schema:
        return f"from {schema['minimum']:,} to {schema['maximum']:,}"
    return " and ".join(f"{word} {schema[key]:,}" for key, word in words.items() if key in schema)
