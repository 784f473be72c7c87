"""Bodies that are not quite what the decoder wants, made so.

Rule: nothing that would be read is lost; only what cannot be a character, or what nothing reads, is taken out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

# Every escape of a JSON string, so that the backslash of `\\ud800` (text, not an escape) is never misread.
_ESCAPES: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)"
)
_LONE: Final = 6  # len of one \uXXXX; a pair is 12, any other escape 2


def replace_lone_surrogates(data: bytes) -> tuple[bytes, bool]:
    """JSON text with each lone ``\\udXXX`` escape as ``\\ufffd``, and whether there was one (rule V15)."""
    lone = False

    def mend(match: re.Match[bytes]) -> bytes:
        nonlocal lone
        if match.end() - match.start() == _LONE:
            lone = True
            return b"\\ufffd"
        return match.group()

    mended = _ESCAPES.sub(mend, data)
    return (mended, True) if lone else (data, False)


def pruned(body: Any, fields: Mapping[str, tuple[str, ...]]) -> Any:
    """The body with each content block reduced to the fields that are read for its type, or to its type."""
    if isinstance(body, dict):
        body["system"] = _blocks(body.get("system"), fields)
        messages = body.get("messages")
        for message in messages if isinstance(messages, list) else ():
            if isinstance(message, dict):
                message["content"] = _blocks(message.get("content"), fields)
    return body


def _blocks(content: Any, fields: Mapping[str, tuple[str, ...]]) -> Any:
    if not isinstance(content, list):
        return content
    return [_block(block, fields) if isinstance(block, dict) else block for block in content]


def _block(block: dict[str, Any], fields: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    kind = block.get("type")
    read = fields.get(kind, ("type",)) if isinstance(kind, str) else ("type",)
    kept = {key: value for key, value in block.items() if key in read}
    if "content" in kept:
        kept["content"] = _blocks(kept["content"], fields)
    return kept
