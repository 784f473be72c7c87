"""From the Messages request to the Responses request (protocol.md 8, 1, 9).

Rule: pure and deterministic; nothing is stored upstream, so what a model has thought travels with the conversation;
equal requests give equal bytes, and everything that was changed is in ``adjustments``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.profiles.model import Profile
from ccproxy_sanic.translate import answer_format, effort, fields, responses_input, tools, validate
from ccproxy_sanic.translate.adjustments import Notes
from ccproxy_sanic.translate.conversation import leading
from ccproxy_sanic.translate.fields import Translated
from ccproxy_sanic.translate.scope import Scope, Unsign
from ccproxy_sanic.translate.tool_names import Names
from ccproxy_sanic.translate.tools import Toolbox
from ccproxy_sanic.wire.anthropic import MessagesRequest
from ccproxy_sanic.wire.openai_chat import ChatTool, NamedChoice, TextPart
from ccproxy_sanic.wire.openai_responses import FunctionChoice, FunctionTool, InputText, ResponsesRequest

MIN_OUTPUT: Final = 16  # tokens; less is refused
ENCRYPTED: Final = "reasoning.encrypted_content"
SUMMARY: Final = "auto"
SEARCH: Final[Mapping[str, Any]] = {
    "type": "web_search",
    "filters": {"allowed_domains": "$allowed_domains"},
    "user_location": "$user_location",
}
_KNOWN: Final[dict[int, tuple[Profile, Profile]]] = {}  # by identity: what profiles hold has no hash
_MAX_KNOWN: Final = 64
# What a profile says of Chat Completions and is otherwise here, at whatever server.
_HERE: Final[Mapping[str, Any]] = {
    "top_k": False,
    "stop": False,
    "parts": True,
    "effort_with_tools": "",
}


def to_responses(
    req: MessagesRequest,
    *,
    model: str,
    profile: Profile,
    strict: bool = False,
    session: str | None = None,
    unsign: Unsign | None = None,
) -> Translated[ResponsesRequest]:
    """The request for ``model`` at an upstream of ``profile``.  Never changes ``req``.  Raises InvalidRequest.

    The arguments are those of ``request.to_chat``.
    """
    validate.check(req)
    try:
        return _translated(req, model, _here(profile), strict, session, unsign)
    except RecursionError:
        raise InvalidRequest("The request is nested too deeply") from None


def _here(profile: Profile) -> Profile:
    """The profile as it holds for this API: the same for the same, by which beginnings are known (history)."""
    known = _KNOWN.get(id(profile))
    if known is None or known[0] is not profile:
        if len(_KNOWN) >= _MAX_KNOWN:
            _KNOWN.clear()
        known = _KNOWN[id(profile)] = profile, _changed(profile)
    return known[1]


def _changed(profile: Profile) -> Profile:
    changes = dict(_HERE)
    if profile.cache == "cache_control":
        changes["cache"] = "none"
    if profile.pdf:
        changes["pdf_urls"] = True
    if profile.web_search_tool:
        changes["web_search"] = SEARCH
    return msgspec.structs.replace(profile, **changes)


def _translated(
    req: MessagesRequest, model: str, profile: Profile, strict: bool, session: str | None, unsign: Unsign | None
) -> Translated[ResponsesRequest]:
    notes = Notes()
    names = Names(notes)
    ids = "mistral9" if profile.tool_ids == "mistral9" else "max64"
    scope = Scope(profile, notes, names, strict=strict, unsign=unsign, ids=ids, flat=True, text_part=InputText)
    if req.repaired:
        notes.add("surrogates_replaced", ())
    toolbox = tools.translate(req, profile, names, notes, strict=True, shape=_function)
    talk = responses_input.translate(req, scope)
    form = answer_format.translate(req, profile, notes)
    talk.system += [TextPart(line) for line in (*toolbox.lines, *form.lines)]
    out = ResponsesRequest(model=model, input=talk.messages, max_output_tokens=_cap(req, profile, notes))
    _instruct(out, talk)
    extra = {**profile.extra, **_tools(out, toolbox, profile)}
    if form.response_format is not UNSET:
        out.text = {"format": _format(form.response_format)}
    plan = effort.plan(
        req,
        profile,
        notes,
        effort=fields.spoken_effort(req),
        forced_choice=toolbox.forced,
        max_tokens=out.max_output_tokens,
    )
    extra |= _reason(out, plan, profile)
    if req.stream:
        out.stream = True
        if profile.obfuscation is not None:
            out.stream_options = {"include_obfuscation": profile.obfuscation}
    stops = tuple(req.stop_sequences or ())
    if stops:
        notes.add("stops_enforced", ("stop_sequences",))
    fields.sampling(out, req, profile, notes)
    fields.account(out, req, profile, session, notes)
    fields.ignored(req, notes)
    _extend(out, extra)
    scope.limit_marks()
    return Translated(
        request=out,
        adjustments=notes.found,
        tools=toolbox.names,
        names=names.back,
        used_tool_ids=frozenset(scope.tool_ids),
        stop_sequences=stops,
        enforce_stops=stops,
        thinking=plan.show,
        empty=req.max_tokens == 0,
    )


def _cap(req: MessagesRequest, profile: Profile, notes: Notes) -> int:
    cap = fields.cap(req, profile, notes)
    if cap >= MIN_OUTPUT:
        return cap
    if req.max_tokens:  # 0 asks for no answer at all
        notes.add("max_tokens_raised", ("max_tokens",))
    return MIN_OUTPUT


def _instruct(out: ResponsesRequest, talk: responses_input.Talk) -> None:
    """The system prompt; where it has cache marks it is a message, because instructions have no parts."""
    if not talk.system:
        return
    instructions = leading(talk)
    if isinstance(instructions, list):
        out.input.insert(0, responses_input.developer(talk.system, talk.scope))
    else:
        out.instructions = instructions


def _function(tool: ChatTool) -> FunctionTool:
    function = tool.function
    return FunctionTool(function.name, function.description, function.parameters, function.strict is True)


def _tools(out: ResponsesRequest, toolbox: Toolbox, profile: Profile) -> dict[str, Any]:
    """Sets tools and choice.  Returns the fields of the body by which a provider without a search tool searches."""
    searching = toolbox.fields if profile.web_search_tool else {}
    declared = toolbox.declared
    if searching:
        declared = [*declared, {key: value for key, value in searching.items() if value}]
    if declared:
        out.tools = declared
    choice = toolbox.choice
    out.tool_choice = FunctionChoice(choice.function.name) if isinstance(choice, NamedChoice) else choice
    out.parallel_tool_calls = toolbox.parallel
    return {} if searching else toolbox.fields


def _format(wanted: dict[str, Any]) -> dict[str, Any]:
    """Chat's ``response_format`` as ``text.format``: flat, and strict or not in so many words."""
    schema = wanted.get("json_schema")
    return wanted if schema is None else {"type": wanted["type"], "strict": False, **schema}


def _reason(out: ResponsesRequest, plan: effort.Plan, profile: Profile) -> dict[str, Any]:
    """Sets effort, summary and what has to come back.  Returns the fields by which other servers are told.

    A model that does not reason refuses all three ("Encrypted content is not supported with this model").
    """
    rest = dict(plan.fields)
    asked = _mapping(profile.extra.get("reasoning")) | _mapping(rest.pop("reasoning", None))
    if (level := rest.pop("reasoning_effort", None)) is not None:
        asked["effort"] = level
    if effort.in_openais_words(profile):
        if profile.encrypted_reasoning:
            out.include = [ENCRYPTED]
        if plan.show != "drop" and profile.reasoning_summary:
            asked.setdefault("summary", SUMMARY)
    if asked:
        out.reasoning = asked
    return rest


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _extend(out: ResponsesRequest, extra: Mapping[str, Any]) -> None:
    """What the profile adds: it fills what is not said, and never overrides what is."""
    rest: dict[str, Any] = {}
    for name, value in extra.items():
        own = getattr(out, name) if name in _NAMED else None
        if name not in _NAMED:
            rest[name] = value
        elif own is UNSET:
            setattr(out, name, value)
        elif isinstance(own, dict) and isinstance(value, Mapping):
            setattr(out, name, {**value, **own})
    if rest:
        out.extra = rest


_NAMED: Final = frozenset(ResponsesRequest.__struct_fields__)
