"""How each API is spoken: what is sent, and what reads its answer.

Rule: :data:`DIALECTS` alone tells one API from another on the request path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from ccproxy_sanic import errors
from ccproxy_sanic.context import RequestContext, new_id
from ccproxy_sanic.pipeline.house import House
from ccproxy_sanic.pipeline.work import Work
from ccproxy_sanic.profiles import Profile
from ccproxy_sanic.routing import Step
from ccproxy_sanic.translate import (
    carrier,
    faults,
    passthrough,
    passthrough_body,
    passthrough_faults,
    request,
    response,
    responses_reply,
    responses_request,
)
from ccproxy_sanic.translate.adjustments import Adjustment
from ccproxy_sanic.translate.fields import Translated
from ccproxy_sanic.translate.reply_spec import ReplySpec
from ccproxy_sanic.translate.responses_stream import ResponsesTranslator
from ccproxy_sanic.translate.scope import Unsign
from ccproxy_sanic.translate.stream import StreamTranslator
from ccproxy_sanic.translate.usage import Usage
from ccproxy_sanic.upstream.target import Api, Target
from ccproxy_sanic.wire import openai_chat, openai_responses


class Call(msgspec.Struct):
    """A request as one upstream gets it, and what its answer must know."""

    target: Target
    step: Step
    api: Api
    profile: Profile
    body: bytes
    spec: ReplySpec
    adjustments: list[Adjustment]
    empty: bool = False  # nothing is to be generated, and the upstream knows no such request
    suffix: str = ""  # of the path
    answer: Reader | Whole | None = None  # to the newest attempt, as far as it has been read


class Reader(Protocol):
    """Reads one answer piece by piece; what the relay needs of a machine, and what was used."""

    usage: Usage
    fault: errors.ProxyError | None
    done: bool
    upstream_id: str | None
    upstream_model: str | None

    @property
    def stop_reason(self) -> str | None: ...
    @property
    def spoken(self) -> bool: ...
    @property
    def finishing(self) -> bool: ...
    def feed(self, data: bytes) -> bytes: ...
    def close(self) -> bytes: ...


class Whole(Protocol):
    """An answer that was not streamed."""

    message: bytes
    usage: Usage
    upstream_id: str | None
    upstream_model: str | None

    @property
    def stop_reason(self) -> str | None: ...


Translate = Callable[[House, RequestContext, Work, Step, Target, Profile], Call]


class Dialect(NamedTuple):
    """``translate`` raises InvalidRequest, ``whole`` any ProxyError; ``fault`` makes one of what is no success."""

    translate: Translate
    machine: Callable[[ReplySpec], Reader]
    whole: Callable[[bytes, ReplySpec], Whole]
    fault: Callable[..., errors.ProxyError]


def prepare(
    house: House, ctx: RequestContext, work: Work, step: Step, switches: Mapping[str, Any] | None = None
) -> Call:
    """The request for one step of the plan; ``switches`` change the profile for this once.  Raises InvalidRequest."""
    began = house.timer()
    target = work.upstreams.targets[step.upstream]
    profile = house.profile_of(target, step.model)
    if switches:
        profile = msgspec.structs.replace(profile, **switches)
    api = target.api or profile.api
    call = DIALECTS[api].translate(house, ctx, work, step, target, profile)
    ctx.translate_s += house.timer() - began
    return call


def _translated(api: Api, to_upstream: Callable[..., Translated[Any]], encode: Callable[[Any], bytes]) -> Translate:
    """One of the two APIs that need translation: its request, and its bytes."""

    def translate(house: House, ctx: RequestContext, work: Work, step: Step, target: Target, profile: Profile) -> Call:
        done = to_upstream(
            work.req,
            model=step.model,
            profile=profile,
            strict=house.strict,
            session=ctx.session or None,
            unsign=_unsign(house, target, step.model),
        )
        spec = _spec(
            house,
            ctx,
            target,
            step.model,
            tools=done.tools,
            names=done.names,
            used_tool_ids=done.used_tool_ids,
            stop_sequences=done.stop_sequences,
            enforce_stops=done.enforce_stops,
            thinking=done.thinking,
            think_tags=profile.think_tags,
            lenient_eof=profile.lenient_eof,
        )
        body = encode(done.request)
        return Call(target, step, api, profile, body, spec, done.adjustments, done.empty)

    return translate


def _messages(house: House, ctx: RequestContext, work: Work, step: Step, target: Target, profile: Profile) -> Call:
    body, adjustments = passthrough_body.body_for(work.raw, step.model, own_ids=profile.tool_ids == "anthropic")
    return Call(target, step, "messages", profile, body, _spec(house, ctx, target, step.model), adjustments)


def _spec(house: House, ctx: RequestContext, target: Target, model: str, **known: Any) -> ReplySpec:
    return ReplySpec(
        message_id=new_id("msg_"),
        model=ctx.client_model,
        request_id=ctx.request_id,
        new_tool_id=_new_tool_id,
        sign=partial(carrier.sign, house.carrier_key, target.name, model),
        **known,
    )


def _new_tool_id() -> str:
    return new_id("toolu_")


def _unsign(house: House, target: Target, model: str) -> Unsign:
    def unsign(signature: str) -> tuple[str, Any] | None:
        """What we signed for this provider; a model's own reasoning means nothing to another's (protocol.md 2.3)."""
        carried = carrier.unsign(house.carrier_key, signature)
        if carried is None or not carrier.fits(carried, target.name, model):
            return None
        return carried.kind, carried.data

    return unsign


def _pass_through(spec: ReplySpec) -> Reader:
    return passthrough.PassThrough(spec.model, opened=spec.opened)


def _passed(body: bytes, spec: ReplySpec) -> Whole:
    return passthrough.to_message(body, spec.model)


DIALECTS: Final[dict[Api, Dialect]] = {
    "chat": Dialect(
        _translated("chat", request.to_chat, openai_chat.encode),
        StreamTranslator,
        response.to_message,
        faults.from_upstream,
    ),
    "responses": Dialect(
        _translated("responses", responses_request.to_responses, openai_responses.encode),
        ResponsesTranslator,
        responses_reply.to_message,
        faults.from_upstream,
    ),
    "messages": Dialect(_messages, _pass_through, _passed, passthrough_faults.fault_of),
}
