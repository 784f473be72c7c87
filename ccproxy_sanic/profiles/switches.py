"""What every switch of a profile means, for people.

Rule: each switch of :class:`~ccproxy_sanic.profiles.model.Profile` is here once; values and defaults come from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from ccproxy_sanic.profiles.model import Profile

MEANINGS: Final[dict[str, str]] = {
    "platform": "The platform's name, for people.",
    "api": "Which API is spoken: Chat Completions, Responses, or Messages, which is passed through.",
    "messages_path": "The path of the Messages API at this host; without one it follows from the base URL.",
    "messages_key": "The header in which the Messages API takes the key.",
    "output_cap": "The field that limits the answer's length.",
    "max_output": "Tokens of the longest answer; a larger `max_tokens` is lowered to it.",
    "max_input": "Tokens of the context, as `/v1/models` tells it.",
    "temperature": "Whether `temperature` is taken.",
    "temperature_min": "The smallest `temperature` that is taken; a smaller one is raised to it.",
    "top_p": "Whether `top_p` is taken.",
    "top_k": "Whether `top_k` is taken.",
    "stop": "Whether `stop` is taken; if not, the proxy ends the answer at stop sequences itself.",
    "max_stops": "How many stop sequences are taken; the proxy watches for the others.",
    "stream_options": "Whether `stream_options` is taken, which asks for the usage of a stream.",
    "obfuscation": "`stream_options.include_obfuscation`, where the host knows it.",
    "service_tier": "Whether `service_tier` is taken.",
    "user_id": "The field that carries the hash of `metadata.user_id`.",
    "prompt_cache_key": "Whether `prompt_cache_key` is taken; it carries a hash of the session.",
    "extra": "Fields that every request carries.",
    "system_role": "The role of the system prompt.",
    "mid_system": "System messages inside the conversation `stay`, become `user` text, or are `hoist`ed to the front.",
    "parts": "Whether content may be a list of parts; if not, it is one string.",
    "null_content": "Whether the content beside tool calls may be null; if not, it is an empty string.",
    "prefill": "How an assistant message at the end is marked to be continued; `none`: it is not.",
    "bridge_after_tool": "An assistant message is put between a tool's result and a user's text.",
    "cache": "How prompt cache marks travel.",
    "vision": "Whether images are taken; if not, a note stands in their place.",
    "image_urls": "Whether images may be given by URL.",
    "tool_images": "Where images of tool results go: a `user` message after them, or `inline`.",
    "pdf": "Whether PDF documents are taken.",
    "pdf_urls": "Whether PDF documents may be given by URL.",
    "reasoning_in": "The field in which earlier reasoning is sent back.",
    "reasoning_required": "Every assistant message with tool calls must carry that field.",
    "reasoning_placeholder": "What the field holds when the reasoning is lost.",
    "reasoning_summary": "Whether the Responses API is asked for summaries of its reasoning.",
    "encrypted_reasoning": "Whether the Responses API is asked for encrypted reasoning, and gets it back.",
    "thought_signatures": "Tool calls carry Gemini's thought signatures.",
    "thought_signature_filler": "The signature of calls whose own is lost.",
    "effort": "How the wish for reasoning is said: a dialect's name, or a table of levels and the fields they send.",
    "effort_with_tools": "The only level that is accepted beside function tools.",
    "think_tags": "An answer that begins with `<think>` holds its reasoning there.",
    "tool_choice": (
        "`full`; `required` where a choice by name is taken for `auto`: the tool then goes alone; "
        "`auto` where a forced choice is refused: the model is then asked in words."
    ),
    "forced_choice_level": "The level without which a forced choice is refused.",
    "parallel_tool_calls": "Whether `parallel_tool_calls` is taken.",
    "tool_ids": "What tool call ids may look like; others are replaced by a hash.",
    "schema": "What tool schemas are cleaned for.",
    "json_schema": "How an output schema travels: as a `schema`, as JSON `object` mode and words, or as a `prompt`.",
    "web_search": (
        "Fields that make the provider search the web, with `$max_uses`, `$allowed_domains`, `$blocked_domains`, "
        "`$user_location` or `$nested_location` where the client's go; without any there is no search."
    ),
    "web_search_tool": "Whether the Responses API offers a `web_search` tool of the provider's.",
    "lenient_eof": "A stream that ends without a finish reason counts as complete.",
}
_NAMES: Final = {bool: "`true`, `false`", int: "number", float: "number", str: "text"}


def markdown() -> str:
    """The table of switches in docs/profiles.md."""
    lines = ["| Switch | Value | Default | Meaning |", "| --- | --- | --- | --- |"]
    for field in msgspec.structs.fields(Profile):
        if field.name != "name":
            values = "dialect or table" if field.name == "effort" else _values(field.type)
            value = {} if field.default is msgspec.NODEFAULT else field.default
            default = "not set" if value is None else f"`{spelled(value)}`"
            lines.append(f"| `{field.name}` | {values} | {default} | {MEANINGS[field.name]} |")
    return "\n".join(lines) + "\n"


def spelled(value: Any) -> str:
    """A value as a TOML file would spell it, in one line."""
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{key} = {spelled(inner)}" for key, inner in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(spelled, value))}]"
    return msgspec.json.encode(value).decode()


def _values(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(f"`{spelled(word)}`" for word in get_args(kind))
    if get_origin(kind) is UnionType:  # "... | None": not set
        return _values(get_args(kind)[0])
    return _NAMES.get(kind, "table")
