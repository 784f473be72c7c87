"""Content blocks as parts of a message (protocol.md 2.2).

Rule: every block type has one entry in PARTS; a type that has none, or nothing to say, is dropped with a note.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.translate.adjustments import Path, dotted
from ccproxy_sanic.translate.scope import Scope
from ccproxy_sanic.wire.anthropic import Block, Source
from ccproxy_sanic.wire.openai_chat import File, FilePart, ImagePart, ImageUrl, Part, TextPart

NO_VISION: Final = "[image omitted: the model has no image input]"
NO_URLS: Final = "[image omitted: the server fetches no URLs: {url}]"
# History of server tools that another backend ran: only what code printed is kept, as text.
HISTORY: Final = frozenset(
    {
        *("server_tool_use", "web_search_tool_result", "web_fetch_tool_result", "tool_search_tool_result"),
        *("advisor_tool_result", "mcp_tool_use", "mcp_tool_result", "mcp_tool_listing"),
    }
)
CODE_RESULTS: Final = (
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
)


def parts_of(block: Block, scope: Scope, path: Path) -> list[Part]:
    """What a block is in a user's message.  Raises InvalidRequest for what no server behind the proxy can read."""
    handler = PARTS.get(block.type)
    return handler(block, scope, path) if handler is not None else _unknown(block, scope, path)


def parts_in(content: Any, scope: Scope, path: Path) -> list[Part]:
    """All parts of a content field: a string, or blocks."""
    if isinstance(content, str):
        return [TextPart(content)] if content.strip() else []
    parts: list[Part] = []
    for index, block in enumerate(content if isinstance(content, list) else ()):
        parts += parts_of(block, scope, (*path, index))
    return parts


def _text(block: Block, scope: Scope, path: Path) -> list[Part]:
    text = block.text or ""
    return [scope.text(text, block.cache_control)] if text and not text.isspace() else []


def _image(block: Block, scope: Scope, path: Path) -> list[Part]:
    source = cast("Source", block.source)  # the decoder saw to it
    if source.type == "file":
        raise InvalidRequest(f"{dotted(path)}.image.source: files are not supported by this backend")
    if not scope.profile.vision or not scope.profile.parts:
        scope.notes.add("image_omitted", path, "the model has no image input")
        return [TextPart(NO_VISION)]
    if source.type == "base64":
        return [ImagePart(ImageUrl(f"data:{source.media_type};base64,{source.data}"))]
    if source.type == "url" and not scope.profile.image_urls:
        scope.notes.add("image_omitted", path, "the server fetches no URLs")
        return [TextPart(NO_URLS.format(url=source.url))]
    if source.type == "url":
        return [ImagePart(ImageUrl(source.url or ""))]
    return _unknown(block, scope, path)


def _document(block: Block, scope: Scope, path: Path) -> list[Part]:
    source = cast("Source", block.source)  # the decoder saw to it
    if source.type == "text":
        return [scope.text(_tagged("document", source.data or "", block), block.cache_control)]
    if source.type == "content":
        inner = parts_in(source.content, scope, (*path, "source", "content"))
        text = "\n".join(part.text for part in inner if isinstance(part, TextPart))
        others = [part for part in inner if not isinstance(part, TextPart)]
        return [scope.text(_tagged("document", text, block), block.cache_control), *others]
    if source.type == "file":
        raise InvalidRequest(f"{dotted(path)}.document.source: files are not supported by this backend")
    if source.type == "base64":
        if not scope.profile.pdf or not scope.profile.parts:
            raise InvalidRequest(f"{dotted(path)}.document.source: this model does not support PDF input")
        return [FilePart(File(_file_name(block), f"data:{source.media_type};base64,{source.data}"))]
    if source.type == "url":
        if not scope.profile.pdf_urls or not scope.profile.parts:
            raise InvalidRequest(f"{dotted(path)}.document.source: this model does not support PDF input from a URL")
        return [FilePart(File(_file_name(block), source.url or ""))]
    return _unknown(block, scope, path)


def _search_result(block: Block, scope: Scope, path: Path) -> list[Part]:
    inner = parts_in(block.content, scope, (*path, "content"))
    text = "\n".join(part.text for part in inner if isinstance(part, TextPart))
    source = block.source if isinstance(block.source, str) else ""
    title, address = _attribute("title", block.title), _attribute("source", source)
    return [scope.text(f"<search_result{title}{address}>\n{text}\n</search_result>", block.cache_control)]


def _tool_reference(block: Block, scope: Scope, path: Path) -> list[Part]:
    return [scope.text(f"Tool {block.tool_name} is now available.", block.cache_control)]


def _browser_state(block: Block, scope: Scope, path: Path) -> list[Part]:
    state: dict[str, Any] = {"type": block.type, "tabs": block.tabs}
    if block.state_changes is not None:
        state["state_changes"] = block.state_changes
    return [scope.text(msgspec.json.encode(state).decode(), block.cache_control)]


def _compaction(block: Block, scope: Scope, path: Path) -> list[Part]:
    if not isinstance(block.content, str) or not block.content.strip():
        return []
    return [scope.text(f"<conversation_summary>{block.content}</conversation_summary>", block.cache_control)]


def _code_result(block: Block, scope: Scope, path: Path) -> list[Part]:
    content = block.content
    pieces = [content.get(key) for key in ("stdout", "stderr", "content")] if isinstance(content, dict) else []
    text = "\n".join(piece for piece in pieces if isinstance(piece, str) and piece.strip())
    return [TextPart(f"[result: {text}]")] if text else _history(block, scope, path)


def _history(block: Block, scope: Scope, path: Path) -> list[Part]:
    scope.notes.add("history_dropped", path, f"{block.type}: a server tool of another backend")
    return []


def _thinking(block: Block, scope: Scope, path: Path) -> list[Part]:
    scope.notes.add("thinking_dropped", path)
    return []


def _nothing(block: Block, scope: Scope, path: Path) -> list[Part]:
    return []  # read elsewhere: tools.changes


def _unknown(block: Block, scope: Scope, path: Path) -> list[Part]:
    known = block.type in PARTS or block.type in ("container_upload", "fallback")
    scope.notes.add("block_dropped", path, f"{block.type}: not supported" if known else "its type is not known")
    return []


PARTS: Final[dict[str, Callable[[Block, Scope, Path], list[Part]]]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "tool_reference": _tool_reference,
    "browser_state": _browser_state,
    "compaction": _compaction,
    "thinking": _thinking,
    "redacted_thinking": _thinking,
    "tool_addition": _nothing,
    "tool_removal": _nothing,
    **dict.fromkeys(HISTORY, _history),
    **dict.fromkeys(CODE_RESULTS, _code_result),
}


def _tagged(tag: str, text: str, block: Block) -> str:
    context = f"{block.context}\n" if block.context else ""
    return f"<{tag}{_attribute('title', block.title)}>\n{context}{text}\n</{tag}>"


def _attribute(name: str, value: str | None) -> str:
    return f' {name}="{value.replace(chr(34), "&quot;")}"' if value else ""


def _file_name(block: Block) -> str:
    return block.title or "document.pdf"
