"""A chat completion request as the demo model reads it; the other APIs' requests are decoded into the same struct.

Rule: what OpenAI refuses is refused here, in OpenAI's words, so that a translation fault shows on the first run without
a key (order of tool messages, empty arrays, unknown roles).  Pure: bytes in, one struct out.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from ccproxy_sanic.demo.faults import Fault

ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
STOP_LIMIT: Final = 4
TOOL_LIMIT: Final = 128
TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
REMINDER: Final = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)
# Models that show what Chat Completions refuses for OpenAI's newer ones (protocol.md 5.6), by how their names begin.
TOOLS_ELSEWHERE: Final = "demo-responses"
ELSEWHERE: Final = "demo-only-responses"
CACHE_STEP: Final = 128  # OpenAI caches prefixes of 1,024 tokens and more, in steps of 128
CACHE_FLOOR: Final = 1024


class Called(msgspec.Struct):
    name: str
    arguments: str = ""


class ToolCall(msgspec.Struct):
    function: Called
    id: str = ""


class ImageUrl(msgspec.Struct):
    url: str


class Part(msgspec.Struct):
    type: str
    text: str = ""
    image_url: ImageUrl | None = None


class ChatMessage(msgspec.Struct):
    role: str
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None

    def text(self) -> str:
        """The text parts, one paragraph each."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.text)
        return self.content or ""

    def has_image(self) -> bool:
        return isinstance(self.content, list) and any(part.image_url is not None for part in self.content)


class Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(msgspec.Struct):
    function: Function
    type: str = "function"


class StreamOptions(msgspec.Struct):
    include_usage: bool = False


class JsonSchema(msgspec.Struct):
    schema: dict[str, Any] | None = None


class ResponseFormat(msgspec.Struct):
    type: str
    json_schema: JsonSchema | None = None


class ChatRequest(msgspec.Struct):
    """Only the fields the demo acts on; all others are accepted and ignored, as most servers do."""

    model: str
    messages: list[ChatMessage]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = True
    reasoning_effort: str | None = None
    response_format: ResponseFormat | None = None

    def prompt(self) -> str:
        """What the person said last: the latest user text without reminders that clients and proxies wrap around it."""
        for message in reversed(self.messages):
            if message.role == "user" and (said := REMINDER.sub("", message.text()).strip()):
                return said
        return ""

    def turn(self) -> list[ChatMessage]:
        """The messages of the turn that is under way: all after the last answer that asked for no tool."""
        for at in range(len(self.messages) - 1, -1, -1):
            message = self.messages[at]
            if message.role == "assistant" and not message.tool_calls:
                return self.messages[at + 1 :]
        return self.messages

    def images(self) -> list[str]:
        """The image URLs of the turn."""
        return [
            part.image_url.url
            for message in self.turn()
            if isinstance(message.content, list)
            for part in message.content
            if part.image_url is not None
        ]

    def functions(self) -> dict[str, Function]:
        return {tool.function.name: tool.function for tool in self.tools or ()}

    def limit(self) -> int | None:
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []


class Asked(msgspec.Struct):
    """A decoded request of any API.

    ``returned``: how much reasoning is in it that the demo gave and knows again; ``quiet``: none is to be given.
    """

    request: ChatRequest
    returned: int = 0
    quiet: bool = False


def decode(body: bytes) -> ChatRequest:
    """Raises :class:`Fault` 400 for anything OpenAI would refuse."""
    try:
        request = msgspec.json.decode(body, type=ChatRequest)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        raise Fault(400, f"Invalid request: {reason}", param=path.rstrip("`") or None) from None
    except msgspec.DecodeError:
        raise Fault(400, "We could not parse the JSON body of your request.") from None
    _check(request)
    return request


def _check(request: ChatRequest) -> None:
    if request.model.startswith(ELSEWHERE):
        message = "This model is only supported in v1/responses and not in v1/chat/completions."
        raise Fault(404, message, code="", param="model")
    if request.model.startswith(TOOLS_ELSEWHERE) and request.tools and request.reasoning_effort != "none":
        raise Fault(
            400,
            f"Function tools with reasoning_effort are not supported for {request.model} in /v1/chat/completions. "
            "To use function tools, use /v1/responses or set reasoning_effort to 'none'.",
            param="reasoning_effort",
        )
    if not request.messages:
        raise Fault(400, "[] is too short - 'messages'", param="messages")
    if request.tools is not None and not request.tools:
        raise Fault(400, "[] is too short - 'tools'", param="tools")
    if len(request.tools or ()) > TOOL_LIMIT:
        raise Fault(400, f"Invalid 'tools': array too long. Expected {TOOL_LIMIT} at most.", param="tools")
    for index, tool in enumerate(request.tools or ()):
        if not TOOL_NAME.fullmatch(tool.function.name):
            where = f"tools[{index}].function.name"
            raise Fault(400, f"Invalid '{where}': string does not match '^[a-zA-Z0-9_-]{{1,64}}$'.", param=where)
    if request.tool_choice is not None and not request.tools:
        raise Fault(400, "'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
    if len(request.stops()) > STOP_LIMIT:
        raise Fault(400, f"Invalid 'stop': array too long. Expected {STOP_LIMIT} at most.", param="stop")
    limit = request.limit()
    if limit is not None and limit < 1:
        raise Fault(400, f"Invalid 'max_tokens': integer below minimum value. Got {limit}.", param="max_tokens")
    _check_order(request.messages)


def _check_order(messages: list[ChatMessage]) -> None:
    """Every call is answered by a tool message before anyone else speaks, and no tool message answers nothing."""
    open_calls: list[str] = []
    for index, message in enumerate(messages):
        if message.role not in ROLES:
            raise Fault(400, f"Invalid value: '{message.role}'.", param=f"messages[{index}].role")
        if message.role != "user" and message.has_image():
            raise Fault(
                400,
                f"Invalid 'messages[{index}]'. Image URLs are only allowed for messages with role 'user', but this "
                f"message with role '{message.role}' contains an image URL.",
                param=f"messages[{index}]",
            )
        if message.role == "tool":
            if message.tool_call_id not in open_calls:
                raise Fault(
                    400,
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    "'tool_calls'.",
                    param=f"messages[{index}].role",
                )
            open_calls.remove(message.tool_call_id)
            continue
        if open_calls:
            break
        open_calls = [call.id for call in message.tool_calls or ()]
    if open_calls:
        raise Fault(
            400,
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(open_calls)}",
            param="messages",
        )


def prompt_tokens(body: bytes) -> int:
    """About four bytes to the token, as a rule of thumb for English and JSON."""
    return max(1, len(body) // 4)


def cached_tokens(request: ChatRequest, total: int) -> int:
    """What a prefix cache would have: everything up to the last answer, in OpenAI's steps."""
    last = max((at for at, message in enumerate(request.messages) if message.role == "assistant"), default=-1)
    new = sum(len(msgspec.json.encode(message)) for message in request.messages[last:]) if last >= 0 else total * 4
    seen = max(0, total - new // 4)
    return seen - seen % CACHE_STEP if seen >= CACHE_FLOOR else 0
