"""Tool results as ``role: tool`` messages (protocol.md 2.2, tool_result).

Rule: a tool message holds text only; what is not text goes into the next user message, with a note in its place.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ccproxy_sanic.translate.adjustments import Path
from ccproxy_sanic.translate.blocks import parts_of
from ccproxy_sanic.translate.scope import Scope
from ccproxy_sanic.wire.anthropic import Block, CacheControl
from ccproxy_sanic.wire.openai_chat import ChatMessage, ImagePart, Part, TextPart

NO_OUTPUT: Final = "(no output)"
NO_RESULT: Final = "(no result)"
ATTACHED: Final = "[{kind} {number} is attached in the next user message]"
HEADING: Final = "Attachments returned by tool call {id}:"
_SAYS_ERROR: Final = ("error", "<tool_use_error>")  # the latter is Claude Code's own wrapper


class Result(msgspec.Struct):
    """A result's text, what has to be attached elsewhere, and the client's cache mark."""

    text: str
    attachments: list[Part]
    mark: CacheControl | None


def read(block: Block, scope: Scope, path: Path, *, moved: bool = True) -> Result:
    """The parts of one ``tool_result``, in order; where attachments are ``moved``, notes stand in their place."""
    if isinstance(block.content, str):
        return Result(words(block), [], block.cache_control)
    texts: list[str] = []
    attachments: list[Part] = []
    counts = {"image": 0, "document": 0}
    found, mark = pieces(block, scope, path)
    for at, part in found:
        if isinstance(part, TextPart):
            texts.append(part.text)
            continue
        kind = "image" if isinstance(part, ImagePart) else "document"
        counts[kind] += 1
        attachments.append(part)
        if moved and scope.profile.tool_images != "inline":
            scope.notes.add("attachment_moved", at)
            texts.append(ATTACHED.format(kind=kind, number=counts[kind]))
    text = "\n".join(texts)
    return Result(failed(text) if block.is_error else text, attachments, mark)


def words(block: Block) -> str:
    """All of a ``tool_result`` whose content is one string."""
    text = block.content
    if not isinstance(text, str) or not text or text.isspace():
        text = NO_OUTPUT
    return failed(text) if block.is_error else text


def pieces(block: Block, scope: Scope, path: Path) -> tuple[list[tuple[Path, Part]], CacheControl | None]:
    """What a ``tool_result`` of blocks holds, never nothing, and where; one cache mark for the whole of it."""
    mark = block.cache_control
    found: list[tuple[Path, Part]] = []
    for index, inner in enumerate(block.content if isinstance(block.content, list) else ()):
        at = (*path, "content", index)
        if inner.cache_control is not None:  # one mark on the whole result, not one for each piece
            mark = mark or inner.cache_control
            inner = msgspec.structs.replace(inner, cache_control=None)
        found += [(at, part) for part in parts_of(inner, scope, at)]
    return found or [(path, TextPart(NO_OUTPUT))], mark


def failed(text: str) -> str:
    """The text of a result with ``is_error``, which says that it is one."""
    return text if text[:40].lstrip().lower().startswith(_SAYS_ERROR) else f"Error: {text}"


def message(result: Result, sent_id: str, scope: Scope) -> ChatMessage:
    """The tool message; content is one string wherever neither a mark nor an inline image needs parts."""
    inline = result.attachments if scope.profile.tool_images == "inline" else []
    content: str | list[Part] = result.text
    if inline or (result.mark is not None and scope.marks):
        content = [*([scope.text(result.text, result.mark)] if result.text else []), *inline]
    return ChatMessage("tool", content, tool_call_id=sent_id)


def attached(result: Result, client_id: str, scope: Scope) -> list[Part]:
    """What the next user message begins with."""
    if not result.attachments or scope.profile.tool_images == "inline":
        return []
    return [TextPart(HEADING.format(id=client_id)), *result.attachments]


def as_user(block: Block, scope: Scope, path: Path) -> list[Part]:
    """A result without a call: what it holds, as the user's own (rule V8)."""
    result = read(block, scope, path, moved=False)
    return [*([TextPart(result.text)] if result.text else []), *result.attachments]
