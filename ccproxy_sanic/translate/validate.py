"""What is refused with a 400 whatever the upstream is (protocol.md 1.2, 1.3).

Rule: the wording stays close to the real API's, because clients match it; nothing is refused for being new.
V3 to V11 need the conversation's order and are checked where it is walked (translate.messages, translate.assistant).
"""

from __future__ import annotations

from typing import Final

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.wire.anthropic import MessagesRequest, Thinking, given

ROLES: Final = frozenset({"user", "assistant", "system"})
MIN_BUDGET: Final = 1024
MAX_TOKENS: Final = 2**53 - 1  # what every JSON reader holds exactly

# Fields that ask the server for something nobody behind the proxy can do: message, error_code of error.details.
REFUSED: Final[dict[str, tuple[str, str | None]]] = {
    "mcp_servers": ("mcp_servers is not supported by this backend", None),
    "compaction": ("compaction is not supported by this backend", None),
    "thread": ("thread is not supported by this backend", "thread_unsupported_request"),
    "safeguards": ("safeguards: Extra inputs are not permitted", None),
}


def check(req: MessagesRequest) -> bool:
    """Raises InvalidRequest for the first thing that is wrong.  Returns whether there are system messages."""
    if not req.messages:
        raise InvalidRequest("messages: at least one message is required")
    roles = {message.role for message in req.messages}
    if not roles <= ROLES:
        index = next(index for index, message in enumerate(req.messages) if message.role not in ROLES)
        raise InvalidRequest(f"messages.{index}.role: Input should be 'user' or 'assistant'")
    _limits(req)
    if req.thinking is not None:
        _thinking(req, req.thinking)
    if req.rare:
        _refused(req)
    if req.output_format is not None and req.output_config is not None and req.output_config.format is not None:
        raise InvalidRequest("output_format: cannot be given together with output_config.format")
    return "system" in roles


def _limits(req: MessagesRequest) -> None:
    if req.max_tokens < 0:
        raise InvalidRequest("max_tokens: Input should be greater than or equal to 0")
    if req.max_tokens > MAX_TOKENS:
        raise InvalidRequest(f"max_tokens: Input should be less than or equal to {MAX_TOKENS}")
    if req.temperature is not None and not 0 <= req.temperature <= 1:
        raise InvalidRequest("temperature: range: 0..1")
    if req.top_p is not None and not 0 <= req.top_p <= 1:
        raise InvalidRequest("top_p: range: 0..1")
    if req.top_k is not None and not 0 <= req.top_k <= MAX_TOKENS:
        raise InvalidRequest("top_k: Input should be greater than or equal to 0")
    if req.stop_sequences and not all(map(str.strip, req.stop_sequences)):
        raise InvalidRequest("stop_sequences: each stop sequence must contain non-whitespace")


def _thinking(req: MessagesRequest, thinking: Thinking) -> None:
    if thinking.type != "enabled":
        return
    if thinking.budget_tokens is None:
        raise InvalidRequest("thinking.enabled.budget_tokens: Field required")
    if thinking.budget_tokens < MIN_BUDGET:
        raise InvalidRequest(f"thinking.enabled.budget_tokens: Input should be greater than or equal to {MIN_BUDGET}")
    if req.max_tokens and req.max_tokens <= thinking.budget_tokens:  # 0 asks for no answer at all
        raise InvalidRequest("`max_tokens` must be greater than `thinking.budget_tokens`")
    if req.tool_choice is not None and req.tool_choice.type in ("any", "tool"):
        raise InvalidRequest("Thinking may not be enabled when tool_choice forces tool use.")


def _refused(req: MessagesRequest) -> None:
    for field, (message, code) in REFUSED.items():
        raw = getattr(req, field)
        if given(raw) and bytes(raw).translate(None, b" \t\r\n") != b"[]":
            raise InvalidRequest(message, details={"error_code": code} if code else None)
