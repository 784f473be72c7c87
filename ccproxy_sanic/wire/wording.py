"""Decode errors in Anthropic's words.

Rule: the path and the kind of mistake are named, and nothing of what the body holds.
"""

from __future__ import annotations

import re
from typing import Final

# msgspec's type names in pydantic's words, which the real API speaks and clients match.
_WORDS: Final = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "array": "list",
    "object": "dictionary",
}
_EXPECTED: Final = re.compile(r"^Expected `([^`]+)`(?:, got `[^`]+`)?(?: - at `([^`]+)`)?")
_MISSING: Final = re.compile(r"^Object missing required field `([^`]+)`(?: - at `([^`]+)`)?")
_ANYWHERE: Final = re.compile(r" - at `([^`]+)`$")


def wording(text: str) -> str:
    """msgspec's message as the real API would put it: ``messages.0.content: Input should be a valid list``."""
    if missing := _MISSING.match(text):
        field, at = missing.groups()
        return f"{_path(at, field)}: Field required"
    if expected := _EXPECTED.match(text):
        kinds, at = expected.groups()
        words = [_WORDS.get(kind, kind) for kind in kinds.split(" | ") if kind != "null"]
        where = _path(at)
        return (
            f"{where}: Input should be a valid {' or '.join(words)}"
            if where
            else "The request body should be a JSON object"
        )
    at_end = _ANYWHERE.search(text)
    where = _path(at_end.group(1)) if at_end else ""
    return f"{where}: {_ANYWHERE.sub('', text)}" if where else text


def _path(at: str | None, field: str = "") -> str:
    """``$.messages[0].content[1]`` as ``messages.0.content.1``."""
    steps = re.findall(r"\.?([^.\[\]$]+)", at or "")
    return ".".join([*steps, field] if field else steps)
