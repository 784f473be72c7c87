"""The order of asks: the only module that talks to actors on the request path.

Rule: limiter, then cache (only for what may be shared), then provider; whatever was granted is given back in
``finally``. Bytes never pass a mailbox (ARCHITECTURE.md 1.1, 1.2; actors.md C.4).
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, Literal

import msgspec

import actors
from actors.cache import Hit, Lead, Lookup
from actors.metrics import Exchange as Event
from actors.provider import Open, Outcome, Unavailable
from actors.rate_limiter import Admit
from actors.rate_limiter import RateLimited as OverBudget
from ccproxy_sanic import errors
from ccproxy_sanic.context import RequestContext, new_id
from ccproxy_sanic.profiles import Profile
from ccproxy_sanic.routing import Route
from ccproxy_sanic.translate import carrier, faults, request, response
from ccproxy_sanic.translate.adjustments import render
from ccproxy_sanic.translate.reply_spec import ReplySpec
from ccproxy_sanic.translate.usage import Usage
from ccproxy_sanic.upstream.engine import EngineTransport
from ccproxy_sanic.upstream.exchange import Exchange, open_exchange
from ccproxy_sanic.upstream.target import Target
from ccproxy_sanic.wire import openai_chat
from ccproxy_sanic.wire.anthropic import MessagesRequest
from ccproxy_sanic.wire.openai_chat import ChatRequest

MAX_ANSWER: Final = 64 * 1024 * 1024  # bytes of a whole answer that is read into memory
MAX_ERROR: Final = 256 * 1024  # bytes of an upstream's error body that are looked at
BYTES_PER_TOKEN: Final = 3.6  # protocol.md 6.5: the estimate that needs no tokenizer
ADJUSTMENTS_SHOWN: Final = 12

WITHOUT_LIMITS: Final[dict[str, Any]] = {"prefill": "prefix", "parts": True, "pdf": True, "pdf_urls": True}
# what an upstream would say to max_tokens 0: the same machines make the answer, whole or streamed
EMPTY_COMPLETION: Final = b'{"choices":[{"index":0,"message":{"role":"assistant"},"finish_reason":"length"}]}'
EMPTY_STREAM: Final = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\ndata: [DONE]\n\n'
# ... and to what Azure's filter refuses with a 400, where others answer with this finish reason (protocol.md 5.2)
FILTERED_COMPLETION: Final = EMPTY_COMPLETION.replace(b"length", b"content_filter")
FILTERED_STREAM: Final = EMPTY_STREAM.replace(b"length", b"content_filter")

# how a fault counts for the endpoint that was used: a client's mistake is never held against it
OUTCOME_OF: Final[tuple[tuple[type[errors.ProxyError], Outcome], ...]] = (
    (errors.Throttled, Outcome.THROTTLED),
    (errors.TimedOut, Outcome.TIMEOUT),
    (errors.Broken, Outcome.BROKEN),
    (errors.PromptTooLong, Outcome.CLIENT_FAULT),
    (errors.ClientFault, Outcome.CLIENT_FAULT),
)


class House(msgspec.Struct):
    """What requests are served with; made once by the runtime."""

    limiter: actors.Ref[Any]
    cache: actors.Ref[Any]
    provider: actors.Ref[Any]
    metrics: actors.Ref[Any]
    transport: EngineTransport
    targets: Mapping[str, Target]
    profile_of: Callable[[Target, str], Profile]
    clock: Callable[[], float]  # the loop's: for deadlines
    timer: Callable[[], float]  # finer than the loop's, which moves in ms: for what things cost
    now: Callable[[], float]  # wall clock, seconds since the epoch: for HTTP dates in retry-after
    carrier_key: bytes
    closer: Callable[[Any], object]
    strict: bool = False
    share: Literal["off", "safe"] = "safe"


class Call(msgspec.Struct):
    """A translated request, ready to be sent, and what its answer must know."""

    target: Target
    body: bytes
    spec: ReplySpec
    headers: dict[str, str]
    empty: bool
    max_tokens: int
    share_key: bytes | None


class Answer(msgspec.Struct, frozen=True):
    """A whole Message, encoded, and its usage."""

    message: bytes
    usage: Usage


def translate(
    house: House, ctx: RequestContext, req: MessagesRequest, route: Route, raw: bytes, share: bool | None
) -> Call:
    """The upstream request for ``req``.  Raises InvalidRequest.  ``share`` is what the client's header asks for."""
    began = house.timer()
    target = house.targets[route.endpoint]
    profile = house.profile_of(target, route.model)

    def unsign(signature: str) -> tuple[str, Any] | None:
        """What we signed for this provider; a model's own reasoning means nothing to another's (protocol.md 2.3)."""
        carried = carrier.unsign(house.carrier_key, signature)
        if carried is None or not carrier.fits(carried, target.name, route.model):
            return None
        return carried.kind, carried.data

    done = request.to_chat(
        req,
        model=route.model,
        profile=profile,
        strict=house.strict,
        session=ctx.session or None,
        unsign=unsign,
    )
    body = openai_chat.encode(done.request)
    spec = ReplySpec(
        message_id=new_id("msg_"),
        model=ctx.client_model,
        request_id=ctx.request_id,
        new_tool_id=_new_tool_id,
        tools=done.tools,
        names=done.names,
        used_tool_ids=done.used_tool_ids,
        stop_sequences=done.stop_sequences,
        enforce_stops=done.enforce_stops,
        thinking=done.thinking,
        sign=partial(carrier.sign, house.carrier_key, target.name, route.model),
        think_tags=profile.think_tags,
        lenient_eof=profile.lenient_eof,
    )
    headers = {"x-upstream-model": route.model}
    if done.adjustments:
        ctx.adjustments = tuple(adjustment.code for adjustment in done.adjustments)
        headers["x-ccproxy-adjustments"] = render(done.adjustments, ADJUSTMENTS_SHOWN)
    ctx.endpoint, ctx.upstream_model = target.name, route.model
    key = _share_key(house, ctx, req, raw, share)
    ctx.translate_s = house.timer() - began
    return Call(target, body, spec, headers, done.empty, req.max_tokens, key)


def as_sent(house: House, req: MessagesRequest, route: Route) -> tuple[ChatRequest, Profile]:
    """What ``req`` would send, and to an upstream of what kind; for counting.  Raises InvalidRequest.

    What only this upstream can't take (a prefilled answer, a PDF) is no reason not to count it.
    """
    target = house.targets[route.endpoint]
    profile = house.profile_of(target, route.model)
    able = msgspec.structs.replace(profile, **WITHOUT_LIMITS)
    return request.to_chat(req, model=route.model, profile=able, strict=house.strict).request, profile


def _new_tool_id() -> str:
    return new_id("toolu_")


def _share_key(house: House, ctx: RequestContext, req: MessagesRequest, raw: bytes, share: bool | None) -> bytes | None:
    """The key under which equal requests are one call, or None where each is a sample of its own.

    Shared are: what the client asks to share, a resend (same session, same body), and what is deterministic.  The key
    holds the caller: an answer never crosses from one to another (ARCHITECTURE.md invariant 12).
    """
    if ctx.stream or share is False:
        return None
    deterministic = house.share == "safe" and (req.temperature == 0 or req.top_k == 1)
    if not (share or ctx.session or deterministic):
        return None
    session = "" if share or deterministic else ctx.session
    seed = "\n".join((ctx.caller.key, ctx.endpoint, ctx.upstream_model, session)).encode()
    return hashlib.blake2b(raw, key=hashlib.sha256(seed).digest(), digest_size=32).digest()


async def complete(house: House, ctx: RequestContext, call: Call) -> Answer:
    """The whole answer of a non-stream request.  Raises ProxyError."""
    async with _permit(house, ctx):
        if call.empty:  # max_tokens 0: legal, and nothing for an upstream to do (protocol.md 0.7)
            return Answer(response.to_message(EMPTY_COMPLETION, call.spec).message, Usage())
        lead = await _lookup(house, ctx, call)
        if isinstance(lead, Hit):
            ctx.shared = True
            answer: Answer = lead.value
            return answer
        try:
            reply = await _ask(house, ctx, call)
        except BaseException:
            if lead is not None:
                lead.abandon()
            raise
        answer = Answer(reply.message, reply.usage)
        note_usage(ctx, reply.usage)
        if lead is not None:
            lead.store(answer)
        return answer


async def _ask(house: House, ctx: RequestContext, call: Call) -> response.Reply:
    try:
        async with _exchange(house, ctx, call) as exchange:
            return response.to_message(await exchange.read(MAX_ANSWER), call.spec)
    except faults.ContentFiltered:
        return response.to_message(FILTERED_COMPLETION, call.spec)


@asynccontextmanager
async def stream(house: House, ctx: RequestContext, call: Call) -> AsyncIterator[Exchange]:
    """The upstream's answer with a good head, to be read in the block; the lease ends with the block."""
    async with _permit(house, ctx), _exchange(house, ctx, call) as exchange:
        yield exchange


@asynccontextmanager
async def _permit(house: House, ctx: RequestContext) -> AsyncIterator[None]:
    began = house.timer()
    with _actor_faults():
        permit = await house.limiter.ask(
            Admit(ctx.caller.key, int(ctx.bytes_in / BYTES_PER_TOKEN)), deadline=ctx.deadline
        )
    ctx.queue_s += house.timer() - began
    try:
        yield
    finally:
        permit.settle(0 if ctx.shared else ctx.input_tokens + ctx.cache_read_tokens + ctx.output_tokens)


@asynccontextmanager
async def _exchange(house: House, ctx: RequestContext, call: Call) -> AsyncIterator[Exchange]:
    began = house.timer()
    with _actor_faults():
        lease = await house.provider.ask(Open((call.target.name,)), deadline=ctx.deadline)
    sent = house.timer()
    ctx.queue_s += sent - began
    try:
        exchange = await open_exchange(
            house.transport,
            "POST",
            call.target.url,
            call.target.headers,
            call.body,
            call.target.deadlines,
            provider=call.target.name,
            closer=house.closer,
        )
        ctx.upstream_s = house.timer() - sent
        lease.attach(exchange)
        if exchange.status >= 300:
            body = await exchange.read(MAX_ERROR)
            raise faults.from_upstream(
                exchange.status,
                exchange.headers,
                body,
                client_app=ctx.client_app or None,
                now=house.now(),
                asked=call.max_tokens,
            )
        yield exchange
        await exchange.finish()
        lease.detach()  # its connection is back in the pool: the lease has nothing to abort any more
    except errors.ProxyError as fault:
        lease.done(outcome_of(fault))
        raise
    except BaseException:
        lease.release()
        raise
    else:
        lease.done(Outcome.OK)


async def _lookup(house: House, ctx: RequestContext, call: Call) -> Lead | Hit | None:
    """Hit, Lead (make the call, others wait for it) or None (go alone).  A failing cache is a miss."""
    if call.share_key is None:
        return None
    try:
        found = await house.cache.ask(Lookup(call.share_key), deadline=ctx.deadline)
    except actors.ActorError:
        return None
    return found if isinstance(found, (Hit, Lead)) else None


class _actor_faults:
    """The one seam where the actors' errors become ours.  A class: half the cost of ``@contextmanager``."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if not isinstance(error, actors.ActorError):
            return
        if isinstance(error, OverBudget):
            raise errors.RateLimited("rate limit of this proxy reached", retry_after=error.retry_after) from None
        if isinstance(error, Unavailable):
            raise errors.Overloaded("no free slot at the upstream", retry_after=error.retry_after) from None
        if isinstance(error, actors.Overloaded):
            raise errors.Overloaded("the proxy is overloaded", retry_after=1) from None
        if isinstance(error, actors.Expired):
            raise errors.TimedOut("the request's deadline passed while it waited") from None
        if isinstance(error, actors.Stopped):
            raise errors.Draining("the proxy is shutting down", retry_after=1) from None
        raise errors.Crashed("internal error") from error


def outcome_of(fault: errors.ProxyError) -> Outcome:
    """How ``fault`` counts in the provider's book."""
    for kind, outcome in OUTCOME_OF:
        if isinstance(fault, kind):
            return outcome
    return Outcome.UPSTREAM_FAULT if fault.status >= 500 else Outcome.CLIENT_FAULT


def note_usage(ctx: RequestContext, usage: Usage) -> None:
    """Write an answer's usage into the request's context."""
    ctx.input_tokens = usage.input_tokens
    ctx.output_tokens = usage.output_tokens
    ctx.cache_read_tokens = usage.cache_read_input_tokens
    ctx.cache_write_tokens = usage.cache_creation_input_tokens
    ctx.thinking_tokens = usage.thinking_tokens or 0


def report(house: House, ctx: RequestContext, status: int, outcome: str, error_type: str | None) -> None:
    """Tell the metrics actor of a request that has ended: the only event there is."""
    house.metrics.tell(
        Event(
            request_id=ctx.request_id,
            path=ctx.path,
            caller=ctx.caller.name,
            session=ctx.session,
            client_model=ctx.client_model,
            upstream_model=ctx.upstream_model,
            endpoint=ctx.endpoint,
            stream=ctx.stream,
            status=status,
            outcome=outcome,
            error_type=error_type,
            input_tokens=ctx.input_tokens,
            output_tokens=ctx.output_tokens,
            cache_read_tokens=ctx.cache_read_tokens,
            cache_write_tokens=ctx.cache_write_tokens,
            thinking_tokens=ctx.thinking_tokens,
            duration_s=house.timer() - ctx.began,
            queue_s=ctx.queue_s,
            upstream_s=ctx.upstream_s,
            first_content_s=ctx.first_content_s,
            translate_s=ctx.translate_s,
            retries=0,
            adjustments=ctx.adjustments,
            bytes_in=ctx.bytes_in,
            bytes_out=ctx.bytes_out,
            shared=ctx.shared,
        )
    )
