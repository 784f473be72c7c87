"""What one upstream can do and how it deviates, as data.

Rule: translation asks a profile's switches and never a provider's name.  The defaults below are the most conservative
dialect, the one of ``generic`` (issue: a server that is not known must not be sent a field it might refuse).
Sources: protocol.md 1.2 to 1.7, 2.1, 2.2, 9.2; peers.md part 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

EffortTable = Mapping[str, Mapping[str, Any]]


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All switches.  Levels, limits and texts are plain values, so that a file can override each one."""

    name: str
    platform: str = "generic"

    # where requests go
    api: Literal["chat", "responses", "messages"] = "chat"
    messages_path: str = ""  # the Messages API's path at this host; "": it follows from the base URL
    messages_key: Literal["bearer", "x-api-key"] = "bearer"  # the header in which the Messages API takes the key

    # the body's fields
    output_cap: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    max_output: int | None = None  # tokens; a larger max_tokens is clamped
    max_input: int | None = None  # tokens of context
    temperature: bool = True
    temperature_min: float = 0.0  # the smallest temperature the server takes
    top_p: bool = True
    top_k: bool = False
    stop: bool = True  # False: the proxy enforces stop sequences itself
    max_stops: int = 4
    stream_options: bool = True
    obfuscation: bool | None = None  # stream_options.include_obfuscation, where the host knows it
    service_tier: bool = False
    user_id: Literal["none", "safety_identifier", "user"] = "none"
    prompt_cache_key: bool = False
    extra: Mapping[str, Any] = {}  # fields that every request to this server carries

    # messages
    system_role: Literal["system", "developer"] = "system"
    mid_system: Literal["stay", "user", "hoist"] = "user"
    parts: bool = True  # False: the server takes content only as one string
    null_content: bool = True  # False: "" beside tool_calls
    prefill: Literal["none", "prefix", "partial", "continue_final_message"] = "none"
    bridge_after_tool: bool = False
    cache: Literal["none", "breakpoint", "cache_control"] = "none"
    vision: bool = True
    image_urls: bool = True
    tool_images: Literal["user", "inline"] = "user"
    pdf: bool = False
    pdf_urls: bool = False

    # reasoning
    reasoning_in: Literal["none", "reasoning_content", "reasoning", "reasoning_details", "think_tags"] = "none"
    reasoning_required: bool = False  # every assistant message with tool calls must carry the field
    reasoning_placeholder: str = ""  # what it carries when the reasoning is lost
    reasoning_summary: bool = True  # the Responses API may be asked for summaries
    encrypted_reasoning: bool = True  # the Responses API may be asked for, and given back, encrypted reasoning
    thought_signatures: bool = False
    thought_signature_filler: str = ""  # for calls whose signature is lost
    effort: EffortTable = {}  # level, "adaptive", "budget" or "omitted" -> fields of the body
    effort_with_tools: str = ""  # the only level that the server accepts beside function tools
    think_tags: bool = False  # an answer that begins with <think> holds its reasoning there

    # tools
    tool_choice: Literal["full", "required", "auto"] = "full"
    forced_choice_level: str = ""  # the effort level without which a forced choice is refused
    parallel_tool_calls: bool = True
    tool_ids: Literal["any", "max40", "mistral9", "anthropic"] = "any"
    schema: Literal["default", "gemini", "ollama", "grammar"] = "default"
    json_schema: Literal["schema", "object", "prompt"] = "schema"
    web_search: Mapping[str, Any] = {}  # fields of the body that make the provider search the web; {}: it cannot
    web_search_tool: bool = False  # the Responses API has a search tool of its own

    # answers
    lenient_eof: bool = False  # a stream that ends without a finish reason is complete
