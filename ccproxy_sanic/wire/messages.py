"""The shape of a Messages request.

Rule: unknown fields mean nothing; fields that are only carried stay :class:`msgspec.Raw`; what comes with every turn
is one object for all of them (:class:`Shared`, :class:`Beginning`).
Sources: protocol.md 1.2, 1.3, 2.2; claude-code.md 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from msgspec import Raw, Struct

from ccproxy_sanic.wire.blocks import NO_RAW, Block

T = TypeVar("T")


class Format(Struct, gc=False):
    type: str
    schema: Raw = NO_RAW


class OutputConfig(Struct, gc=False):
    effort: str | None = None
    format: Format | None = None
    task_budget: Raw = NO_RAW


class Message(Struct, gc=False):
    role: str
    content: str | list[Block] | None = None
    clear_at: str | None = None
    output_config: OutputConfig | None = None


class Tool(Struct, gc=False):
    """One entry of ``tools``: a custom tool, one that the client runs, or one that Anthropic's servers would run."""

    name: str | None = None
    type: str | None = None
    description: str | None = None
    input_schema: Raw = NO_RAW
    input_examples: list[Raw] | None = None
    strict: bool | None = None
    defer_loading: bool | None = None
    allowed_callers: list[str] | None = None
    max_uses: Raw = NO_RAW
    allowed_domains: Raw = NO_RAW
    blocked_domains: Raw = NO_RAW
    user_location: Raw = NO_RAW
    display_width_px: int | None = None
    display_height_px: int | None = None


class Shared(list[T]):
    """A list that is only read: equal bytes are one object, which carries what was ``made`` of it."""

    __slots__ = ("made",)

    def __init__(self, entries: Iterable[T]) -> None:
        super().__init__(entries)
        self.made: dict[Any, Any] = {}


class ToolChoice(Struct, frozen=True, gc=False):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Struct, gc=False):
    type: str
    budget_tokens: int | None = None
    display: str | None = None


class Metadata(Struct, gc=False):
    user_id: str | None = None


class MessagesRequest(Struct, gc=False, kw_only=True):
    """The body of ``POST /v1/messages``.  Fields typed Raw are only looked at for presence (see :func:`given`).

    ``repaired``, ``special``, ``rare`` and ``beginning`` are set by :func:`decode_request`, whatever a client says in
    fields of these names: lone surrogates were replaced (rule V15); there may be blocks of other than the most frequent
    types; any of the fields typed Raw may be there; the :class:`Beginning` of the conversation, where it is known.
    """

    model: str
    max_tokens: int
    messages: list[Message]
    system: str | Shared[Block] | None = None
    stream: bool = False
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    tools: Shared[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    metadata: Metadata | None = None
    service_tier: str | None = None
    speed: str | None = None
    billing_policy: Raw = NO_RAW
    compaction: Raw = NO_RAW
    container: Raw = NO_RAW
    context_management: Raw = NO_RAW
    fallback_credit_token: Raw = NO_RAW
    fallbacks: Raw = NO_RAW
    inference_geo: Raw = NO_RAW
    mcp_servers: Raw = NO_RAW
    safeguards: Raw = NO_RAW
    tags: Raw = NO_RAW
    thread: Raw = NO_RAW
    user_profile_id: Raw = NO_RAW
    workspace_id: Raw = NO_RAW
    repaired: Any = False
    special: Any = True
    rare: Any = True
    beginning: Any = None


class Beginning(Struct, gc=False, eq=False):
    """What the requests of one conversation have in common, read once; ``made`` is what was made of it.

    Their bodies begin with ``body[:size]``: what stands before the messages, and the first of these, ``messages``, with
    the comma behind them.  Most of them also end with ``tail``.  What is left has its meaning behind ``head``, which
    names the rest of the messages ``rest``; ``front`` is what the bodies say before the messages of fields that are not
    in ``head``, ``back`` what ``tail`` says (wire.beginnings).
    """

    body: bytes
    size: int
    tail: memoryview
    messages: list[Message]
    special: bool
    head: bytes
    front: dict[str, Any]
    back: dict[str, Any]
    made: dict[Any, Any]

    def end(self, body: bytes) -> int:
        """Where what is new in ``body`` ends: before the tail, if it has that; else the end."""
        return len(body) - len(self.tail) if body.endswith(self.tail) else len(body)
