"""A request as pieces that can be counted and remembered one by one: the system prompt, each message, each tool.

Rule: messages are counted as the client has them, thinking included; tools, choice and answer format as they are sent.
Equal messages give equal pieces, so that a growing conversation costs only its new part (protocol.md 6.3).  Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from ccproxy_sanic.profiles import Profile
from ccproxy_sanic.tokens.encodings import vocabulary
from ccproxy_sanic.tokens.functions import declaration
from ccproxy_sanic.tokens.media import image_size, pdf_pages
from ccproxy_sanic.tokens.vision import image_tokens
from ccproxy_sanic.translate.compact import compact
from ccproxy_sanic.translate.conversation import BILLING
from ccproxy_sanic.wire.anthropic import Block, MessagesRequest, Source
from ccproxy_sanic.wire.openai_chat import ChatRequest, Function, NamedChoice

PER_MESSAGE: Final = 4  # three around each, and its role
PRIMING: Final = 3  # what begins the answer
PER_CALL: Final = 8
PER_TOOLS: Final = 12  # once, where there are any
FORCED: Final = 6  # a tool choice that leaves no choice
REDACTED: Final = 100  # reasoning that nobody can read
PER_PAGE: Final = 2000  # of a PDF: its text and its picture
OMITTED: Final = 12  # the words that stand for an image where the model has no eyes


class Piece(msgspec.Struct, gc=False):
    """``texts`` to be counted together, and ``fixed`` tokens that no text shows."""

    texts: list[str]
    fixed: int = 0


class Prompt(msgspec.Struct, gc=False):
    """All pieces; text tokens in ``encoding`` times ``factor``, and the fixed ones as they are."""

    pieces: list[Piece]
    encoding: str
    factor: float

    @property
    def size(self) -> int:
        """Characters to be counted."""
        return sum(len(text) for piece in self.pieces for text in piece.texts)


class _Eyes(msgspec.Struct, gc=False, frozen=True):
    """Who looks at images."""

    model: str
    vision: bool


def prompt_of(req: MessagesRequest, chat: ChatRequest, profile: Profile) -> Prompt:
    """The pieces of ``req``, which is translated to ``chat`` for an upstream of ``profile``."""
    eyes = _Eyes(chat.model, profile.vision and profile.parts)
    pieces = [Piece([], PRIMING)]
    if req.system:
        pieces.append(_system(req.system))
    for message in req.messages:
        piece = Piece([], PER_MESSAGE)
        _add_content(piece, message.content, eyes)
        pieces.append(piece)
    if chat.tools:
        pieces.append(Piece([], PER_TOOLS))
        pieces += [_tool(tool.function) for tool in chat.tools]
        if isinstance(chat.tool_choice, NamedChoice) or chat.tool_choice == "required":
            pieces.append(Piece([], FORCED))
    if chat.response_format:
        pieces.append(Piece([msgspec.json.encode(chat.response_format).decode()]))
    encoding, factor = vocabulary(chat.model)
    return Prompt(pieces, encoding, factor)


def _tool(tool: Function) -> Piece:
    return Piece([declaration(tool.name, tool.description or "", bytes(tool.parameters or b""))])


def _system(system: str | list[Block]) -> Piece:
    texts = [system] if isinstance(system, str) else [block.text or "" for block in system]
    return Piece([text for text in texts if not text.startswith(BILLING)], PER_MESSAGE)


def _add_content(piece: Piece, content: Any, eyes: _Eyes) -> None:
    if isinstance(content, str):
        piece.texts.append(content)
    elif isinstance(content, list):
        for block in content:
            if block.type == "text":
                piece.texts.append(block.text or "")
            elif (add := BLOCKS.get(block.type)) is not None:
                add(piece, block, eyes)
    elif content is not None:
        piece.texts.append(msgspec.json.encode(content).decode())


def _nested(piece: Piece, block: Block, eyes: _Eyes) -> None:
    """What has a title, a source's text or content of its own."""
    piece.texts += [text for text in (block.title, block.context, block.tool_name) if text]
    if isinstance(block.source, str):
        piece.texts.append(block.source)
    _add_content(piece, block.content, eyes)


def _image(piece: Piece, block: Block, eyes: _Eyes) -> None:
    source = block.source
    if not eyes.vision:
        piece.fixed += OMITTED
    elif isinstance(source, Source):
        size = image_size(source.data) if source.type == "base64" and source.data else None
        piece.fixed += image_tokens(eyes.model, size)


def _document(piece: Piece, block: Block, eyes: _Eyes) -> None:
    _nested(piece, block, eyes)
    source = block.source
    if not isinstance(source, Source):
        return
    if source.type == "text":
        piece.texts.append(source.data or "")
    elif source.type == "content":
        _add_content(piece, source.content, eyes)
    else:
        piece.fixed += PER_PAGE * (pdf_pages(source.data) if source.type == "base64" and source.data else 1)


def _call(piece: Piece, block: Block, eyes: _Eyes) -> None:
    piece.texts += [block.name or "", compact(block.input) if block.input else ""]
    piece.fixed += PER_CALL


def _result(piece: Piece, block: Block, eyes: _Eyes) -> None:
    piece.fixed += PER_MESSAGE  # a message of its own at the upstream
    _add_content(piece, block.content, eyes)


def _thinking(piece: Piece, block: Block, eyes: _Eyes) -> None:
    piece.texts.append(block.thinking or "")


def _redacted(piece: Piece, block: Block, eyes: _Eyes) -> None:
    piece.fixed += REDACTED


def _state(piece: Piece, block: Block, eyes: _Eyes) -> None:
    piece.texts.append(msgspec.json.encode([block.tabs, block.state_changes]).decode())


# Text has its place in _add_content; a type that is not here is not sent, and costs nothing.
BLOCKS: Final[dict[str, Callable[[Piece, Block, _Eyes], None]]] = {
    "image": _image,
    "document": _document,
    "search_result": _nested,
    "tool_reference": _nested,
    "compaction": _nested,
    "code_execution_tool_result": _nested,
    "bash_code_execution_tool_result": _nested,
    "text_editor_code_execution_tool_result": _nested,
    "tool_use": _call,
    "tool_result": _result,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "browser_state": _state,
}
