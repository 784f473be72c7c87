"""From the Messages request to the Chat Completions request (protocol.md 1, 2, 9).

Rule: pure and deterministic; equal requests give equal bytes, and everything that was changed is in ``adjustments``.
"""

from __future__ import annotations

from typing import Any

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles.model import Profile
from ccproxy_sanic.translate import answer_format, effort, fields, messages, tools, validate
from ccproxy_sanic.translate.adjustments import Notes
from ccproxy_sanic.translate.fields import Translated
from ccproxy_sanic.translate.scope import Scope, Unsign
from ccproxy_sanic.translate.tool_names import Names
from ccproxy_sanic.wire.anthropic import MessagesRequest
from ccproxy_sanic.wire.openai_chat import ChatRequest, TextPart

__all__ = ["Translated", "to_chat"]


def to_chat(
    req: MessagesRequest,
    *,
    model: str,
    profile: Profile,
    strict: bool = False,
    session: str | None = None,
    unsign: Unsign | None = None,
) -> Translated[ChatRequest]:
    """The request for ``model`` at an upstream of ``profile``.  Never changes ``req``.  Raises InvalidRequest.

    ``strict`` refuses unanswered calls and orphan results (V7, V8) instead of mending them; ``session`` is any text
    that stays the same in one client session; ``unsign`` opens our own carriers (protocol.md 2.3).
    """
    systems = validate.check(req)
    try:
        return _translated(req, model, profile, strict, session, unsign, systems)
    except RecursionError:
        raise InvalidRequest("The request is nested too deeply") from None


def _translated(
    req: MessagesRequest,
    model: str,
    profile: Profile,
    strict: bool,
    session: str | None,
    unsign: Unsign | None,
    systems: bool,
) -> Translated[ChatRequest]:
    notes = Notes()
    names = Names(notes)
    scope = Scope(profile, notes, names, strict, unsign)
    if req.repaired:
        notes.add("surrogates_replaced", ())
    toolbox = tools.translate(req, profile, names, notes)
    talk = messages.translate(req, scope)
    form = answer_format.translate(req, profile, notes)
    if toolbox.lines or form.lines:
        talk.system += [TextPart(line) for line in (*toolbox.lines, *form.lines)]
    cap = fields.cap(req, profile, notes)
    spoken = fields.spoken_effort(req) if systems else None
    thinking = effort.plan(req, profile, notes, spoken, bool(toolbox.names), toolbox.forced, cap)
    chat = ChatRequest(model=model, messages=messages.finished(talk))
    if toolbox is not tools.NOTHING:
        chat.tool_choice, chat.parallel_tool_calls = toolbox.choice, toolbox.parallel
        if toolbox.declared:
            chat.tools = toolbox.declared
    chat.response_format = form.response_format
    setattr(chat, profile.output_cap, cap)
    if req.stream:
        _stream(chat, profile)
    stops: tuple[str, ...] = ()
    enforced: tuple[str, ...] = ()
    if req.stop_sequences:
        stops = tuple(req.stop_sequences)
        enforced = _stops(chat, stops, profile, notes)
    fields.sampling(chat, req, profile, notes)
    fields.account(chat, req, profile, session, notes)
    fields.ignored(req, notes)
    extra: dict[str, Any] = {}
    if profile.extra or toolbox.fields or thinking.fields:
        extra = {**profile.extra, **toolbox.fields, **thinking.fields}
    if profile.prefill == "continue_final_message" and messages.continues(chat.messages):
        extra |= {"continue_final_message": True, "add_generation_prompt": False}
    if extra:
        chat.extra = extra
    if scope.marked:
        scope.limit_marks()
    return Translated(
        chat,
        notes.found,
        toolbox.names,
        names.back,
        scope.tool_ids,
        stops,
        enforced,
        thinking.show,
        req.max_tokens == 0,
    )


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
