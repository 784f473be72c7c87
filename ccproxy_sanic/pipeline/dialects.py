"""How each API is spoken: what is sent, and what reads its answer.

Rule: :data:`DIALECTS` alone tells one API from another on the request path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from ccproxy_sanic import errors
from ccproxy_sanic.context import RequestContext, new_id, shown
from ccproxy_sanic.pipeline.house import House, Upstreams, remember
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
from ccproxy_sanic.upstream.head import Head
from ccproxy_sanic.upstream.target import Api, Target
from ccproxy_sanic.wire import openai_chat, openai_responses


class Call(msgspec.Struct):
    """A request as one upstream gets it, and what its answer must know."""

    lane: Lane
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


Translate = Callable[[House, RequestContext, Work, "Lane"], Call]


class Dialect(NamedTuple):
    """``translate`` raises InvalidRequest, ``whole`` any ProxyError; ``fault`` makes one of what is no success."""

    translate: Translate
    machine: Callable[[ReplySpec], Reader]
    whole: Callable[[bytes, ReplySpec], Whole]
    fault: Callable[..., errors.ProxyError]


class Lane:
    """What is the same of all requests for one model at one upstream, as long as its profile is: made once, because
    making it again took a tenth of what the pipeline costs for a small request.

    ``hops`` is a way that has only got here, as the context shows it; ``sign`` and ``unsign`` are the carriers' of this
    model (protocol.md 2.3).
    """

    __slots__ = ("_heads", "api", "dialect", "hop", "hops", "profile", "sign", "step", "target", "through", "unsign")

    def __init__(self, house: House, target: Target, step: Step, profile: Profile) -> None:
        self.target, self.step, self.profile = target, step, profile
        self.api: Api = target.api or profile.api
        self.dialect = DIALECTS[self.api]
        self.through = self.api == "messages"
        self.hop = f"{step.upstream}/{shown(step.model)}"
        self.hops = (self.hop,)
        self.sign = partial(carrier.sign, house.carrier_key, target.name, step.model)
        self.unsign = _unsign(house, target, step.model)
        self._heads: dict[int, Head] = {}  # by key, of the plain requests

    def __repr__(self) -> str:
        return f"<Lane {self.hop} | {self.api}, {self.profile.name}>"

    def head(self, key: int, suffix: str, query: str) -> Head:
        """What a request with the ``key``-th key says before its body."""
        if suffix or query:
            return self._head(key, suffix, query)
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = self._head(key, suffix, query)
        return head

    def _head(self, key: int, suffix: str, query: str) -> Head:
        profile = self.profile
        return self.target.head(self.api, key, profile.messages_key, profile.messages_path, suffix, query)


def lane_of(house: House, upstreams: Upstreams, step: Step) -> Lane:
    """The lane of a step, by the profile that its model has now."""
    target, lanes = upstreams.targets[step.upstream], upstreams.lanes
    profile = house.profile_of(target, step.model)
    lane = lanes.get(step)
    if lane is not None and lane.profile is profile:
        return lane
    return remember(lanes, step, Lane(house, target, step, profile), step.model)


def prepare(
    house: House, ctx: RequestContext, work: Work, step: Step, switches: Mapping[str, Any] | None = None
) -> Call:
    """The request for one step of the plan; ``switches`` change the profile for this once.  Raises InvalidRequest."""
    timer = house.timer
    began = timer()
    lane = lane_of(house, work.upstreams, step)
    if switches:
        lane = Lane(house, lane.target, step, msgspec.structs.replace(lane.profile, **switches))
    call = lane.dialect.translate(house, ctx, work, lane)
    ctx.translate_s += timer() - began
    return call


def _translated(to_upstream: Callable[..., Translated[Any]], encode: Callable[[Any], bytes]) -> Translate:
    """One of the two APIs that need translation: its request, and its bytes."""

    def translate(house: House, ctx: RequestContext, work: Work, lane: Lane) -> Call:
        profile = lane.profile
        done = to_upstream(
            work.req,
            model=lane.step.model,
            profile=profile,
            strict=house.strict,
            session=ctx.session or None,
            unsign=lane.unsign,
        )
        # All names stand here: handed on as ** by a function of its own they cost nine times as much.
        spec = ReplySpec(
            message_id=_message_id(ctx),
            model=ctx.client_model,
            request_id=ctx.request_id,
            new_tool_id=_new_tool_id,
            sign=lane.sign,
            tools=done.tools,
            names=done.names,
            used_tool_ids=done.used_tool_ids,
            stop_sequences=done.stop_sequences,
            enforce_stops=done.enforce_stops,
            thinking=done.thinking,
            think_tags=profile.think_tags,
            lenient_eof=profile.lenient_eof,
        )
        return Call(lane, encode(done.request), spec, done.adjustments, done.empty)

    return translate


def _messages(house: House, ctx: RequestContext, work: Work, lane: Lane) -> Call:
    body, adjustments = passthrough_body.body_for(
        work.raw,
        lane.step.model,
        own_ids=lane.profile.tool_ids == "anthropic",
        beginning=work.req.beginning,
        named=work.req.model,
    )
    spec = ReplySpec(_message_id(ctx), ctx.client_model, ctx.request_id, _new_tool_id, lane.sign)
    return Call(lane, body, spec, adjustments)


def _message_id(ctx: RequestContext) -> str:
    """Of the request's own digits: a request has one message, and who has its id can look it up."""
    return "msg_" + ctx.request_id[4:]  # without req_


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
        _translated(request.to_chat, openai_chat.encode),
        StreamTranslator,
        response.to_message,
        faults.from_upstream,
    ),
    "responses": Dialect(
        _translated(responses_request.to_responses, openai_responses.encode),
        ResponsesTranslator,
        responses_reply.to_message,
        faults.from_upstream,
    ),
    "messages": Dialect(_messages, _pass_through, _passed, passthrough_faults.fault_of),
}
