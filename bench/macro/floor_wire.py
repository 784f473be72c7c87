"""What the floor knows of both APIs: text and tools, nothing else.

Rule: the least that a correct translation of an ordinary request needs, written as fast as plain Python allows.  No
checks, no profiles, no errors: whatever the product does beyond this is what the ratios price.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

MESSAGE_ID: Final = "msg_floor"
STOP_REASON: Final = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}

# Messages in


class Text(Struct, gc=False, tag_field="type", tag="text"):
    text: str


class ToolUse(Struct, gc=False, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: Raw


class ToolResult(Struct, gc=False, tag_field="type", tag="tool_result"):
    tool_use_id: str
    content: str | list[Text] = ""


class Turn(Struct, gc=False):
    role: str
    content: str | list[Text | ToolUse | ToolResult]


class Tool(Struct, gc=False):
    name: str
    input_schema: Raw
    description: str = ""


class Request(Struct, gc=False):
    model: str
    max_tokens: int
    messages: list[Turn]
    system: str | list[Text] = ""
    tools: list[Tool] = []
    stream: bool = False
    temperature: float | UnsetType = UNSET


# Chat Completions out


class Call(Struct, gc=False):
    name: str
    arguments: str


class ToolCall(Struct, gc=False):
    id: str
    function: Call
    type: str = "function"


class ChatMessage(Struct, gc=False):
    role: str
    content: str | UnsetType | None = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET


class Function(Struct, gc=False):
    name: str
    description: str
    parameters: Raw


class ChatTool(Struct, gc=False):
    function: Function
    type: str = "function"


class ChatBody(Struct, gc=False):
    model: str
    messages: list[ChatMessage]
    max_completion_tokens: int
    tools: list[ChatTool] | UnsetType = UNSET
    temperature: float | UnsetType = UNSET
    stream: bool | UnsetType = UNSET
    stream_options: dict[str, bool] | UnsetType = UNSET


# Chat Completions in


class AnswerCall(Struct, gc=False):
    id: str
    function: Call


class AnswerMessage(Struct, gc=False):
    content: str | None = None
    tool_calls: list[AnswerCall] | None = None


class AnswerChoice(Struct, gc=False):
    message: AnswerMessage
    finish_reason: str | None = None


class Usage(Struct, gc=False):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Answer(Struct, gc=False):
    choices: list[AnswerChoice]
    usage: Usage


# Messages out


class OutText(Struct, gc=False):
    text: str
    type: str = "text"


class OutToolUse(Struct, gc=False):
    id: str
    name: str
    input: Raw
    type: str = "tool_use"


class OutUsage(Struct, gc=False):
    input_tokens: int
    output_tokens: int


class OutMessage(Struct, gc=False):
    model: str
    content: list[OutText | OutToolUse]
    stop_reason: str | None
    usage: OutUsage
    id: str = MESSAGE_ID
    type: str = "message"
    role: str = "assistant"
    stop_sequence: None = None


_encode: Final = msgspec.json.Encoder().encode
decode_request: Final = msgspec.json.Decoder(Request).decode
decode_answer: Final = msgspec.json.Decoder(Answer).decode


def _plain(content: str | list[Text]) -> str:
    return content if isinstance(content, str) else "\n".join([block.text for block in content])


def to_chat(request: Request, model: str) -> bytes:
    """The upstream's body."""
    out = [ChatMessage("system", _plain(request.system))] if request.system else []
    for turn in request.messages:
        content = turn.content
        if isinstance(content, str):
            out.append(ChatMessage(turn.role, content))
            continue
        texts: list[str] = []
        calls: list[ToolCall] = []
        for block in content:
            if isinstance(block, Text):
                texts.append(block.text)
            elif isinstance(block, ToolUse):
                calls.append(ToolCall(block.id, Call(block.name, bytes(block.input).decode())))
            else:
                out.append(ChatMessage("tool", _plain(block.content), tool_call_id=block.tool_use_id))
        if texts or calls:
            out.append(ChatMessage(turn.role, "\n".join(texts) if texts else None, calls or UNSET))
    tools = [ChatTool(Function(tool.name, tool.description, tool.input_schema)) for tool in request.tools]
    body = ChatBody(model, out, request.max_tokens, tools or UNSET, request.temperature)
    if request.stream:
        body.stream, body.stream_options = True, {"include_usage": True}
    return _encode(body)


def to_message(body: bytes, model: str) -> bytes:
    """The client's Message from a whole completion."""
    answer = decode_answer(body)
    choice = answer.choices[0]
    said = choice.message.content
    content: list[OutText | OutToolUse] = [OutText(said)] if said else []
    content += [
        OutToolUse(call.id, call.function.name, Raw(call.function.arguments.encode() or b"{}"))
        for call in choice.message.tool_calls or ()
    ]
    usage = OutUsage(answer.usage.prompt_tokens, answer.usage.completion_tokens)
    return _encode(OutMessage(model, content, STOP_REASON.get(choice.finish_reason or "stop"), usage))
