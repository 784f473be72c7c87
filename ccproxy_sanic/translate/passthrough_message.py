"""A whole Message of an upstream that speaks Messages itself: read, renamed, made into events and put together.

Rule: members and block types that are not known are carried as they are; only the model's name changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from ..errors import Garbled
from ..sse import frame
from ..wire import spans
from ..wire.anthropic_reply import MESSAGE_STOP, encode
from ..wire.mending import replace_lone_surrogates
from . import arguments
from .passthrough_faults import fault_in
from .usage import Usage

NOT_MESSAGE: Final = "The upstream's answer is not a Message"
UNREADABLE: Final = "The upstream's stream has an event that cannot be read"
DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_COUNTS: Final = frozenset({"input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"})
_NO_USAGE: Final = {"input_tokens": 0, "output_tokens": 0}  # the SDKs fail without any (claude-code.md 5)
_ENDING: Final = ("stop_reason", "stop_sequence", "stop_details")  # members that message_delta brings
_BESIDE: Final = ("context_management",)  # and those that stand beside its delta
_JSON_DELTA: Final = "input_json_delta"


class _Piece(NamedTuple):
    """A member of a block that comes in deltas, and what stands in its place at the block's start."""

    delta: str
    member: str
    empty: Any


_TEXT: Final = {"text": _Piece("text_delta", "text", "")}
_THINKING: Final = {
    "thinking": _Piece("thinking_delta", "thinking", ""),
    "signature": _Piece("signature_delta", "signature", ""),
}
_TOOL: Final = {"input": _Piece(_JSON_DELTA, "partial_json", {})}
# Clients drop these members where a block's start carries them (protocol.md 4.2); all else comes in the start.
_PIECES: Final[dict[str, dict[str, _Piece]]] = {
    "text": _TEXT,
    "thinking": _THINKING,
    "tool_use": _TOOL,
    "server_tool_use": _TOOL,
    "mcp_tool_use": _TOOL,
}


class Relayed(msgspec.Struct):
    """A whole answer as the client gets it, and what the books want to know of it."""

    message: bytes
    usage: Usage
    stop_reason: str | None = None
    upstream_id: str | None = None
    upstream_model: str | None = None


class _Seen(msgspec.Struct):
    """What is looked at in a whole answer; nothing in it can have the wrong type."""

    type: Any = None
    id: Any = None
    model: Any = None
    stop_reason: Any = None
    usage: Any = None
    content: msgspec.Raw = msgspec.Raw()
    error: Any = None


_any: Final = msgspec.json.Decoder().decode
_seen: Final = msgspec.json.Decoder(_Seen).decode


def count(usage: Usage, said: object) -> None:
    """Take the counts of a usage object into ``usage``: totals, of which a zero or a null says nothing
    (claude-code.md 5)."""
    if not isinstance(said, dict):
        return
    usage.known = True
    for name, value in said.items():  # half of them are missing mostly: to ask for each takes longer
        if type(value) is int:
            if value > 0 and name in _COUNTS:
                setattr(usage, name, value)
        elif name == "service_tier":
            usage.service_tier = text_of(value) or usage.service_tier
        elif name == "output_tokens_details" and isinstance(value, dict):
            usage.thinking_tokens = _counted(value.get("thinking_tokens")) or usage.thinking_tokens


def _counted(value: object) -> int:
    return value if type(value) is int and value > 0 else 0


def text_of(value: object) -> str | None:
    return value if isinstance(value, str) else None


def read(payload: bytes) -> dict[str, Any]:
    """A JSON object; lone surrogates are replaced.  Raises Garbled."""
    try:
        value = _any(payload)
    except DECODE_ERRORS:
        mended, lone = replace_lone_surrogates(payload)
        if lone:
            return read(mended)
        raise Garbled(UNREADABLE) from None
    if not isinstance(value, dict):
        raise Garbled(UNREADABLE)
    return value


def whole(text: bytes, model: str) -> Relayed:
    """The answer to a request that was not streamed, named ``model``.

    Raises ProxyError: not JSON, no Message, or an error in spite of the status.
    """
    try:
        seen = _seen(text)
        place = spans.sole(text, b"model") if isinstance(seen.model, str) else None
        if place is None:
            message = spans.replaced(text, "model", encode(model))
        else:
            message = text[: place[0]] + encode(model) + text[place[1] :]
    except (*DECODE_ERRORS, ValueError):
        mended, lone = replace_lone_surrogates(text)
        if lone:
            return whole(mended, model)
        raise Garbled(NOT_MESSAGE) from None
    if not bytes(seen.content).startswith(b"["):
        raise fault_in(text) if seen.type == "error" or seen.error is not None else Garbled(NOT_MESSAGE)
    usage = Usage()
    count(usage, seen.usage)
    return Relayed(message, usage, text_of(seen.stop_reason), text_of(seen.id), text_of(seen.model))


def message_of(events: Iterable[bytes]) -> bytes:
    """The Message that the data of a complete stream's events make, encoded.  Raises Garbled."""
    message: dict[str, Any] = {}
    blocks: dict[Any, _Growing] = {}
    for payload in events:
        event = read(payload)
        try:
            match event.get("type"):
                case "message_start":
                    message = dict(event["message"])
                case "content_block_start":
                    blocks[event["index"]] = _Growing(dict(event["content_block"]))
                case "content_block_delta":
                    blocks[event["index"]].add(event["delta"])
                case "message_delta":
                    message |= {name: event[name] for name in _BESIDE if name in event} | event["delta"]
                    message["usage"] = _merged(message.get("usage"), event.get("usage"))
        except (KeyError, TypeError, ValueError, AttributeError):  # not what events look like
            raise Garbled(UNREADABLE) from None
    cut = message.get("stop_reason") == "max_tokens"
    message["content"] = [block.whole(cut=cut) for block in blocks.values()]
    return msgspec.json.encode(message)


def _merged(usage: object, said: object) -> dict[str, Any]:
    """The totals of two usage objects; what is zero or null in the later one keeps what was."""
    merged = dict(usage) if isinstance(usage, dict) else {}
    for name, value in said.items() if isinstance(said, dict) else ():
        if value or name not in merged:
            merged[name] = value
    return merged


class _Growing:
    """A block whose deltas come in.  A member that is text grows, one that is a list gets another item."""

    __slots__ = ("_block", "_texts")

    def __init__(self, block: dict[str, Any]) -> None:
        self._block = block
        self._texts: dict[str, list[str]] = {}

    def add(self, delta: dict[str, Any]) -> None:
        kind = delta.get("type")
        for member, value in delta.items():
            if member == "type":
                continue
            if kind == "citations_delta":
                self._block["citations"] = [*(self._block.get("citations") or ()), value]
            elif kind == "signature_delta" or not isinstance(value, str):
                self._block[member] = value  # given whole
            else:
                self._texts.setdefault(member, []).append(value)

    def whole(self, *, cut: bool) -> dict[str, Any]:
        texts = {member: "".join(parts) for member, parts in self._texts.items()}
        written = texts.pop("partial_json", "")
        if written:
            self._block["input"] = msgspec.Raw(arguments.whole(written, cut=cut).encode())
        for member, text in texts.items():
            self._block[member] = (text_of(self._block.get(member)) or "") + text
        return self._block


def events_of(message: dict[str, Any]) -> bytes:
    """The same answer as a stream, for a client that asked for one and an upstream that did not listen.

    Raises Garbled: no blocks.
    """
    blocks = message.get("content")
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise Garbled(NOT_MESSAGE)
    usage = message.get("usage") or _NO_USAGE
    ending = {member: message.get(member) for member in _ENDING}
    beside = {member: message[member] for member in _BESIDE if member in message}
    start = message | {"content": [], "usage": usage} | dict.fromkeys((*ending, *beside))
    out = [_frame({"type": "message_start", "message": start})]
    for index, block in enumerate(blocks):
        out += _block(index, block)
    out += (_frame({"type": "message_delta", "delta": ending, "usage": usage} | beside), MESSAGE_STOP)
    return b"".join(out)


def _block(index: int, block: dict[str, Any]) -> list[bytes]:
    start, deltas = dict(block), []
    for member, piece in _PIECES.get(str(block.get("type")), {}).items():
        value = block.get(member)
        start[member] = piece.empty
        if value and isinstance(value, type(piece.empty)):
            said = value if isinstance(value, str) else encode(value).decode()
            deltas.append({"type": piece.delta, piece.member: said})
    if isinstance(block.get("citations"), list):
        start["citations"] = []
        deltas += [{"type": "citations_delta", "citation": citation} for citation in block["citations"]]
    return [
        _frame({"type": "content_block_start", "index": index, "content_block": start}),
        *(_frame({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas),
        _frame({"type": "content_block_stop", "index": index}),
    ]


def _frame(event: dict[str, Any]) -> bytes:
    return frame(event["type"].encode(), msgspec.json.encode(event))
