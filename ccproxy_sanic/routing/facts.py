"""What the rules ask of a request.

Rule: pure, and from what the request says of itself; what costs a walk through the messages is only looked for where a
rule asks (claude-code.md 1 to 3: how Claude Code's own requests are told apart).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from ccproxy_sanic.context import SESSION_HEADER
from ccproxy_sanic.routing.models import tier_of
from ccproxy_sanic.wire.anthropic import Message, MessagesRequest, Source

Role = Literal["main", "small", "title", "subagent", ""]

AGENT_HEADER: Final = "x-claude-code-agent-id"  # subagents only (claude-code.md 2)
BYTES_PER_TOKEN: Final = 3.6  # of a request's JSON, Claude Code's own bodies: an estimate that costs nothing


class Facts(msgspec.Struct, frozen=True):
    """``model`` is the client's name, ``tokens`` an estimate of the whole input.  ``role`` is Claude Code's, "" for
    other clients; ``images`` is False where nobody looked."""

    model: str
    role: Role = ""
    tokens: int = 0
    thinking: bool = False
    images: bool = False


def facts_of(req: MessagesRequest, headers: Mapping[str, str], size: int, *, look_for_images: bool) -> Facts:
    """The facts of a request whose body has ``size`` bytes.  ``headers`` are looked up in lower case."""
    return Facts(
        model=req.model,
        role=_role(req, headers),
        tokens=int(size / BYTES_PER_TOKEN),
        thinking=req.thinking is not None and req.thinking.type != "disabled",
        images=look_for_images and _has_image(req.messages),
    )


def _role(req: MessagesRequest, headers: Mapping[str, str]) -> Role:
    if headers.get(AGENT_HEADER):
        return "subagent"
    if not headers.get(SESSION_HEADER):
        return ""
    form = req.output_config.format if req.output_config else None
    if not req.tools and form is not None and form.type == "json_schema":
        return "title"
    return "small" if tier_of(req.model) == "small" else "main"


def _has_image(messages: list[Message]) -> bool:
    """Whether any block is an image, also in results of tools and in documents."""
    to_do = [message.content for message in messages if isinstance(message.content, list)]
    while to_do:
        for block in to_do.pop():
            if block.type == "image":
                return True
            if isinstance(block.content, list):
                to_do.append(block.content)
            if isinstance(block.source, Source) and isinstance(block.source.content, list):
                to_do.append(block.source.content)
    return False
