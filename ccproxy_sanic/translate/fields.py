"""What every upstream's request says alike: limits, sampling, effort, who is asking (protocol.md 1.2).

Rule: a field that an upstream does not take is noted, and a user's id never travels but as a hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Set
from typing import Final, Generic, Literal, TypeVar

import msgspec

from ccproxy_sanic.profiles.model import Profile
from ccproxy_sanic.translate.adjustments import Adjustment, Notes
from ccproxy_sanic.wire.anthropic import MessagesRequest, given
from ccproxy_sanic.wire.openai_chat import ChatRequest
from ccproxy_sanic.wire.openai_responses import ResponsesRequest

# Fields that no OpenAI-compatible server knows; what they ask for is not needed for a right answer.
IGNORED: Final = (
    *("billing_policy", "container", "context_management", "fallback_credit_token", "fallbacks", "inference_geo"),
    *("tags", "user_profile_id", "workspace_id"),
)

R = TypeVar("R")


class Translated(msgspec.Struct, Generic[R]):
    """The upstream's request, and what the answer's translation has to know of the client's.

    ``tools`` are the declared names as sent; ``names`` leads from a name as sent to the client's, where they differ;
    ``used_tool_ids`` are the client's ids of the whole history; ``enforce_stops`` are left to the proxy;
    ``empty`` asks for no upstream call at all (max_tokens 0).
    """

    request: R
    adjustments: list[Adjustment]
    tools: frozenset[str]
    names: dict[str, str]
    used_tool_ids: Set[str]
    stop_sequences: tuple[str, ...]
    enforce_stops: tuple[str, ...]
    thinking: Literal["show", "omit", "drop"]
    empty: bool


def cap(req: MessagesRequest, profile: Profile, notes: Notes) -> int:
    """The answer's longest length: max_tokens, within the model's limit."""
    if profile.max_output is None or req.max_tokens <= profile.max_output:
        return req.max_tokens
    notes.add("max_tokens_clamped", ("max_tokens",), f"the model's limit is {profile.max_output}")
    return profile.max_output


def spoken_effort(req: MessagesRequest) -> str | None:
    """The effort of the last system message that is still shown and carries one (protocol.md 1.4)."""
    later_user = False
    for message in reversed(req.messages):
        if message.role == "user":
            later_user = True
        elif message.clear_at == "next_user_message" and later_user:
            continue
        elif message.role == "system" and message.output_config is not None and message.output_config.effort:
            return message.output_config.effort
    return None


def sampling(out: ChatRequest | ResponsesRequest, req: MessagesRequest, profile: Profile, notes: Notes) -> None:
    temperature = req.temperature
    if temperature is None and req.top_p is None and req.top_k is None:
        return
    if temperature is not None and temperature < profile.temperature_min:
        temperature = profile.temperature_min
        notes.add("sampling_clamped", ("temperature",))
    for name, value in (("temperature", temperature), ("top_p", req.top_p), ("top_k", req.top_k)):
        if value is None:
            continue
        if getattr(profile, name):
            setattr(out, name, value)
        else:
            notes.add("sampling_dropped", (name,), f"{name} is not taken by this model")


def account(
    out: ChatRequest | ResponsesRequest, req: MessagesRequest, profile: Profile, session: str | None, notes: Notes
) -> None:
    """Who is asking and at which tier.  Claude Code's user id holds account and session ids: only its hash travels."""
    user_id = req.metadata.user_id if req.metadata else None
    if user_id and profile.user_id != "none":
        setattr(out, profile.user_id, _hash(user_id))
    elif user_id:
        notes.add("user_id_dropped", ("metadata", "user_id"))
    if session and profile.prompt_cache_key:
        out.prompt_cache_key = _hash(session)
    if req.service_tier is None and req.speed is None:
        return
    for field, value in (("service_tier", req.service_tier), ("speed", req.speed)):
        tier = _TIERS.get((field, value))
        if tier is None:
            continue
        if profile.service_tier:
            out.service_tier = tier
        else:
            notes.add("service_tier_dropped", (field,))


_TIERS: Final[dict[tuple[str, str | None], str]] = {
    ("service_tier", "standard_only"): "default",
    ("speed", "fast"): "fast",
}


def ignored(req: MessagesRequest, notes: Notes) -> None:
    """Notes what is set of the fields that nobody reads."""
    for name in IGNORED if req.rare else ():
        if given(getattr(req, name)):
            notes.add("field_ignored", (name,), f"{name} means nothing to this upstream")
    if req.output_config is not None and given(req.output_config.task_budget):
        notes.add("field_ignored", ("output_config", "task_budget"), "task_budget means nothing to this upstream")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
