"""From the Messages request to the Chat Completions request (protocol.md 1, 2, 9).

Rule: pure and deterministic; equal requests give equal bytes, and everything that was changed is in ``adjustments``.
"""

from __future__ import annotations

import hashlib
from operator import attrgetter
from typing import Final, Literal

import msgspec

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles.model import Profile
from ccproxy_sanic.translate import answer_format, effort, messages, tools, validate
from ccproxy_sanic.translate.adjustments import Adjustment, Notes
from ccproxy_sanic.translate.scope import Scope, Unsign
from ccproxy_sanic.translate.tool_names import Names
from ccproxy_sanic.wire.anthropic import NO_RAW, MessagesRequest, given
from ccproxy_sanic.wire.openai_chat import ChatRequest, TextPart

# Fields that no Chat Completions server knows; what they ask for is not needed for a right answer.
IGNORED: Final = (
    *("billing_policy", "container", "context_management", "fallback_credit_token", "fallbacks", "inference_geo"),
    *("tags", "user_profile_id", "workspace_id"),
)


class Translated(msgspec.Struct):
    """The upstream's request, and what the answer's translation has to know of the client's.

    ``tools`` are the declared names as sent; ``names`` leads from a name as sent to the client's, where they differ;
    ``used_tool_ids`` are the client's ids of the whole history; ``enforce_stops`` are left to the proxy;
    ``empty`` asks for no upstream call at all (max_tokens 0).
    """

    request: ChatRequest
    adjustments: list[Adjustment]
    tools: frozenset[str]
    names: dict[str, str]
    used_tool_ids: frozenset[str]
    stop_sequences: tuple[str, ...]
    enforce_stops: tuple[str, ...]
    thinking: Literal["show", "omit", "drop"]
    empty: bool


def to_chat(
    req: MessagesRequest,
    *,
    model: str,
    profile: Profile,
    strict: bool = False,
    session: str | None = None,
    unsign: Unsign | None = None,
) -> Translated:
    """The request for ``model`` at an upstream of ``profile``.  Never changes ``req``.  Raises InvalidRequest.

    ``strict`` refuses unanswered calls and orphan results (V7, V8) instead of mending them; ``session`` is any text
    that stays the same in one client session; ``unsign`` opens our own carriers (protocol.md 2.3).
    """
    validate.check(req)
    try:
        return _translated(req, model, profile, strict, session, unsign)
    except RecursionError:
        raise InvalidRequest("The request is nested too deeply") from None


def _translated(
    req: MessagesRequest, model: str, profile: Profile, strict: bool, session: str | None, unsign: Unsign | None
) -> Translated:
    notes = Notes()
    names = Names(notes)
    scope = Scope(profile, notes, names, strict=strict, unsign=unsign)
    if req.repaired:
        notes.add("surrogates_replaced", ())
    toolbox = tools.translate(req, profile, names, notes)
    talk = messages.translate(req, scope)
    form = answer_format.translate(req, profile, notes)
    talk.system += [TextPart(line) for line in (*toolbox.lines, *form.lines)]
    cap = _cap(req, profile, notes)
    thinking = effort.plan(
        req,
        profile,
        notes,
        effort=_spoken_effort(req),
        has_tools=bool(toolbox.tools),
        forced_choice=toolbox.forced,
        max_tokens=cap,
    )
    chat = ChatRequest(model=model, messages=talk.finished(), tool_choice=toolbox.choice)
    chat.parallel_tool_calls, chat.response_format = toolbox.parallel, form.response_format
    if toolbox.tools:
        chat.tools = toolbox.tools
    setattr(chat, profile.output_cap, cap)
    if req.stream:
        _stream(chat, profile)
    stops = tuple(req.stop_sequences or ())
    enforced = _stops(chat, stops, profile, notes)
    _sampling(chat, req, profile, notes)
    _account(chat, req, profile, session, notes)
    _ignored(req, notes)
    extra = {**profile.extra, **toolbox.fields, **thinking.fields}
    if profile.prefill == "continue_final_message" and messages.continues(chat.messages):
        extra |= {"continue_final_message": True, "add_generation_prompt": False}
    if extra:
        chat.extra = extra
    scope.limit_marks()
    return Translated(
        request=chat,
        adjustments=notes.found,
        tools=frozenset(tool.function.name for tool in toolbox.tools),
        names=names.back,
        used_tool_ids=frozenset(scope.tool_ids),
        stop_sequences=stops,
        enforce_stops=enforced,
        thinking=thinking.show,
        empty=req.max_tokens == 0,
    )


def _cap(req: MessagesRequest, profile: Profile, notes: Notes) -> int:
    if profile.max_output is None or req.max_tokens <= profile.max_output:
        return req.max_tokens
    notes.add("max_tokens_clamped", ("max_tokens",), f"the model's limit is {profile.max_output}")
    return profile.max_output


def _spoken_effort(req: MessagesRequest) -> str | None:
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


def _stream(chat: ChatRequest, profile: Profile) -> None:
    chat.stream = True
    if profile.stream_options:
        chat.stream_options = {"include_usage": True}
        if profile.obfuscation is not None:
            chat.stream_options["include_obfuscation"] = profile.obfuscation


def _stops(chat: ChatRequest, stops: tuple[str, ...], profile: Profile, notes: Notes) -> tuple[str, ...]:
    """Sets ``stop``; returns what the upstream does not take, which the proxy has to watch for."""
    taken = profile.max_stops if profile.stop else 0
    if stops[:taken]:
        chat.stop = list(stops[:taken])
    if stops[taken:]:
        notes.add("stops_enforced", ("stop_sequences",))
    return stops[taken:]


def _sampling(chat: ChatRequest, req: MessagesRequest, profile: Profile, notes: Notes) -> None:
    temperature = req.temperature
    if temperature is not None and temperature < profile.temperature_min:
        temperature = profile.temperature_min
        notes.add("sampling_clamped", ("temperature",))
    for name, value in (("temperature", temperature), ("top_p", req.top_p), ("top_k", req.top_k)):
        if value is None:
            continue
        if getattr(profile, name):
            setattr(chat, name, value)
        else:
            notes.add("sampling_dropped", (name,), f"{name} is not taken by this model")


def _account(chat: ChatRequest, req: MessagesRequest, profile: Profile, session: str | None, notes: Notes) -> None:
    """Who is asking and at which tier.  Claude Code's user id holds account and session ids: only its hash travels."""
    user_id = req.metadata.user_id if req.metadata else None
    if user_id and profile.user_id != "none":
        setattr(chat, profile.user_id, _hash(user_id))
    elif user_id:
        notes.add("user_id_dropped", ("metadata", "user_id"))
    if session and profile.prompt_cache_key:
        chat.prompt_cache_key = _hash(session)
    for field, value in (("service_tier", req.service_tier), ("speed", req.speed)):
        tier = _TIERS.get((field, value))
        if tier is None:
            continue
        if profile.service_tier:
            chat.service_tier = tier
        else:
            notes.add("service_tier_dropped", (field,))


_TIERS: Final[dict[tuple[str, str | None], str]] = {
    ("service_tier", "standard_only"): "default",
    ("speed", "fast"): "fast",
}


_ignored_values: Final = attrgetter(*IGNORED)
_NONE_IGNORED: Final = (NO_RAW,) * len(IGNORED)


def _ignored(req: MessagesRequest, notes: Notes) -> None:
    values = _ignored_values(req)
    for name, raw in zip(IGNORED, values, strict=True) if values != _NONE_IGNORED else ():
        if given(raw):
            notes.add("field_ignored", (name,), f"{name} means nothing to this upstream")
    if req.output_config is not None and given(req.output_config.task_budget):
        notes.add("field_ignored", ("output_config", "task_budget"), "task_budget means nothing to this upstream")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
