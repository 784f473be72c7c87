"""The floor's stream: chunks in, Messages events out, one ``bytes`` per read.

Rule: as in floor_wire: the least that is correct, as fast as plain Python allows.  (Copying the text as ``msgspec.Raw``
instead of decoding and encoding it was measured: the same within 4 %.)
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from bench.macro.floor_wire import MESSAGE_ID, STOP_REASON, Usage


class PartFunction(Struct, gc=False):
    name: str | None = None
    arguments: str = ""


class PartCall(Struct, gc=False):
    function: PartFunction
    index: int = 0
    id: str | None = None


class Delta(Struct, gc=False):
    content: str | None = None
    tool_calls: list[PartCall] | None = None


class Choice(Struct, gc=False):
    delta: Delta
    finish_reason: str | None = None


class Chunk(Struct, gc=False):
    choices: list[Choice]
    usage: Usage | None = None


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Chunk).decode
DONE: Final = b"data: [DONE]"
STOP: Final = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
END: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
START: Final = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"%b","type":"message","role":"assistant",'
    b'"model":%b,"content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"output_tokens":0}}}\n\n'
)
BLOCK: Final = b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
TEXT: Final = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":'
)
ARGUMENTS: Final = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
    b'"delta":{"type":"input_json_delta","partial_json":'
)
TAIL: Final = b"}}\n\n"
DELTA: Final = (
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":%b,"stop_sequence":null},'
    b'"usage":{"input_tokens":%d,"output_tokens":%d}}\n\n'
)


class Translator:
    """One stream.  ``feed`` returns frames; ``done`` is set with the last of them."""

    __slots__ = ("_call", "_head", "_index", "_reason", "_rest", "_started", "_tool", "_usage", "done")

    def __init__(self, model: str) -> None:
        self._started = [START % (MESSAGE_ID.encode(), _encode(model))]
        self._rest = b""
        self._index = -1  # of the open block
        self._head = b""  # of its deltas
        self._tool = False
        self._call = -1  # the upstream's index of the open tool
        self._reason = "stop"
        self._usage = Usage()
        self.done = False

    def feed(self, data: bytes) -> bytes:
        out = self._started
        self._started = []
        events = (self._rest + data).split(b"\n\n") if self._rest else data.split(b"\n\n")
        self._rest = events.pop()
        for event in events:
            if event == DONE:
                self._finish(out)
                break
            chunk = _decode(event[6:])
            if chunk.usage is not None:
                self._usage = chunk.usage
            for choice in chunk.choices:
                delta = choice.delta
                if delta.tool_calls is not None:
                    for call in delta.tool_calls:
                        self._arguments(call, out)
                elif text := delta.content:
                    if self._tool or self._index < 0:
                        self._open(b'{"type":"text","text":""}', TEXT, out)
                        self._tool = False
                    out += (self._head, _encode(text), TAIL)
                if choice.finish_reason is not None:
                    self._reason = choice.finish_reason
        return b"".join(out)

    def _open(self, block: bytes, head: bytes, out: list[bytes]) -> None:
        if self._index >= 0:
            out.append(STOP % self._index)
        self._index += 1
        self._head = head % self._index
        out.append(BLOCK % (self._index, block))

    def _arguments(self, call: PartCall, out: list[bytes]) -> None:
        if call.index != self._call:
            self._call, self._tool = call.index, True
            block: dict[str, Any] = {"type": "tool_use", "id": call.id, "name": call.function.name, "input": {}}
            self._open(_encode(block), ARGUMENTS, out)
        if arguments := call.function.arguments:
            out += (self._head, _encode(arguments), TAIL)

    def _finish(self, out: list[bytes]) -> None:
        if self._index >= 0:
            out.append(STOP % self._index)
        reason = _encode(STOP_REASON.get(self._reason, "end_turn"))
        out += (DELTA % (reason, self._usage.prompt_tokens, self._usage.completion_tokens), END)
        self.done = True
