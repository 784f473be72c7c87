"""Which whole answers are kept and shared, under which key, and how one is given again.

Rule: a request is looked up only where its answer is one, not a sample of many: because the client says so, because it
is sent again, because the upstream is told to be greedy, or because everything is to be kept.  What is given again is
what the client would get from the upstream, down to the model's name; the key holds the caller, so that an answer never
crosses from one to another (ARCHITECTURE.md invariant 12).
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import msgspec

import actors
from actors.cache_books import CacheBooks
from actors.cache_messages import Bad, Clear, Hit, Keep, Lead, Lookup, Miss, Popular
from actors.cache_shelf import ShelfLimits
from ccproxy_sanic import errors
from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.pipeline.books import reraise
from ccproxy_sanic.pipeline.dialects import Call, Whole
from ccproxy_sanic.pipeline.house import House
from ccproxy_sanic.pipeline.report import note_adjustments, note_usage
from ccproxy_sanic.pipeline.work import Work
from ccproxy_sanic.translate.adjustments import Adjustment

COMPLETE: Final = frozenset({"end_turn", "tool_use", "stop_sequence"})  # stop reasons of answers that lack nothing
SAMPLING: Final = frozenset({"sampling_dropped", "sampling_clamped"})  # adjustments: not as greedy as was asked
SEEN_BY_UPSTREAM: Final = ("anthropic-version", "anthropic-beta")  # headers that change what a Messages upstream says

Extent = Literal["", "complete", "all"]


class Origin(msgspec.Struct, frozen=True):
    """A request, so that it can be sent again.  ``caller`` is the key of the one whom its answer is for, "": everybody
    who may call; ``headers`` and ``query`` are what a Messages upstream sees of them."""

    request: msgspec.Raw
    caller: str = ""
    headers: dict[str, str] = {}
    query: str = ""

    @property
    def body(self) -> bytes:
        return bytes(self.request)


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """A whole Message, encoded, and who made it.  ``origin``: where popular requests are saved."""

    message: bytes
    upstream_model: str = ""
    origin: Origin | None = None

    @property
    def size(self) -> int:
        """Bytes; a few names more or less don't matter, and are in the shelf's allowance for each entry."""
        origin = self.origin
        return len(self.message) + (0 if origin is None else len(bytes(origin.request)))


class Use(msgspec.Struct, frozen=True):
    """What is done with ``key``: ``look`` for an answer that is kept, ``join`` a call under way, ``keep`` the answer:
    not, if it is complete, or in any case.  ``adjustments`` are this request's, which its answer tells of."""

    key: bytes
    look: bool
    join: bool
    keep: Extent
    adjustments: list[Adjustment]


class _Ending(msgspec.Struct):
    stop_reason: str | None = None


_ending: Final = msgspec.json.Decoder(_Ending)


def use_of(house: House, ctx: RequestContext, work: Work, call: Call) -> Use | None:
    """What the client's headers, the setting and the request itself mean together; None: it is a sample of its own."""
    wanted = work.cache
    greedy = house.share == "safe" and is_greedy(call, work)
    everything = house.share == "all"
    kept = wanted != "off" and (bool(wanted) or everything or greedy)
    shared = work.share or (work.share is None and wanted != "refresh" and (kept or (ctx.session and wanted != "off")))
    if not kept and not shared:
        return None
    session = "" if work.share or kept else ctx.session
    keep: Extent = "" if not kept else "all" if everything and not wanted else "complete"
    return Use(
        _key(house, ctx, work, call, session), kept and wanted != "refresh", bool(shared), keep, call.adjustments
    )


def is_greedy(call: Call, work: Work) -> bool:
    """Whether the upstream is told to take the likeliest token each time."""
    req = work.req
    if req.temperature != 0 and req.top_k != 1:
        return False
    lost = {one.path for one in call.adjustments if one.code in SAMPLING}
    return (req.temperature == 0 and "temperature" not in lost) or (req.top_k == 1 and "top_k" not in lost)


def _key(house: House, ctx: RequestContext, work: Work, call: Call, session: str) -> bytes:
    """Equal for requests that get the same from the upstreams of the plan, and look the same to the client.

    What the proxy itself does to the answer is not in the upstream's request: stop sequences that it enforces, whether
    reasoning is shown, names of tools.
    """
    done = (call.spec.stop_sequences, call.spec.thinking, call.spec.names)
    said: tuple[str, ...] = ()
    if call.lane.through:
        said = (work.query, *(work.headers.get(name, "") for name in SEEN_BY_UPSTREAM))
    names = msgspec.json.encode((ctx.caller.key, session, ctx.client_model, call.lane.api, said, done, *work.route))
    # Answers hold signed carriers: another process, or a later one, can read them only with the same key.
    seed = hashlib.blake2b(names, key=house.carrier_key[:64], digest_size=32).digest()
    return hashlib.blake2b(call.body, key=seed, digest_size=32).digest()


def new_books(max_entries: int, max_bytes: int, ttl: float) -> CacheBooks:
    """``ttl`` in seconds."""
    return CacheBooks(ShelfLimits(max_entries, max_bytes, ttl))


async def popular(house: House, uses: int, most: int) -> list[Origin]:
    """The requests whose answers were given again so often, the most wanted first.  A failing cache knows none."""
    try:
        answers: list[Answer] = await house.cache.ask(Popular(uses, most))
    except actors.ActorError:
        return []
    return [answer.origin for answer in answers if answer.origin is not None]


async def clear(house: House) -> None:
    """Forget all answers that are kept here, and what was counted of them.  Raises ProxyError."""
    try:
        await house.cache.ask(Clear())
    except actors.ActorError as error:
        reraise(error)


async def lookup(house: House, ctx: RequestContext, use: Use) -> Lead | Hit | Miss:
    """An answer, the lead, or Miss (go alone).  A failing cache is a miss, and keeps nothing."""
    try:
        found: Lead | Hit | Miss = await house.cache.ask(Lookup(use.key, use.look, use.join), deadline=ctx.deadline)
    except actors.ActorError:
        return Miss(open=False)
    return found


async def through(
    house: House, ctx: RequestContext, work: Work, use: Use, make: Callable[[], Awaitable[Whole]]
) -> bytes:
    """The message that is kept or under way for ``use``, else the one that ``make`` makes.  Raises ProxyError."""
    found = await lookup(house, ctx, use)
    if isinstance(found, Hit):
        return _given(ctx, use, found.value, "shared" if found.shared else "hit", found.age, found.kept)
    lead = found if isinstance(found, Lead) else None
    second = house.second if found.open else None
    try:
        if use.look:
            ctx.cache = "miss"
            if second is not None and (held := await second.get(use.key)) is not None:
                answer, age = held
                answer = msgspec.structs.replace(answer, origin=_origin(house, ctx, work))
                _store(house, use, answer, lead, answer.size, age)
                return _given(ctx, use, answer, "hit", age)
        elif use.keep:
            ctx.cache = "refresh"
        epoch = b"" if second is None else second.epoch
        reply = await make()
    except BaseException as fault:
        if lead is not None:
            lead.abandon()
        if use.keep and isinstance(fault, errors.Garbled):
            house.cache.tell(Bad())
        raise
    note_usage(ctx, reply.usage)
    answer = Answer(reply.message, ctx.upstream_model, _origin(house, ctx, work))
    size = answer.size if found.open and _is_worth(ctx, work, use, reply) else None
    _store(house, use, answer, lead, size)
    if second is not None and size is not None:
        house.closer(second.put(use.key, answer, epoch))
    return reply.message


def _origin(house: House, ctx: RequestContext, work: Work) -> Origin | None:
    if not house.remember:
        return None
    said = {name: value for name in SEEN_BY_UPSTREAM if (value := work.headers.get(name))}
    return Origin(msgspec.Raw(work.raw), ctx.caller.key, said, work.query)


def _store(house: House, use: Use, answer: Answer, lead: Lead | None, size: int | None, age: float = 0.0) -> None:
    if lead is not None:
        lead.store(answer, size, age)
    elif size is not None:
        house.cache.tell(Keep(use.key, answer, size, age))


def _is_worth(ctx: RequestContext, work: Work, use: Use, reply: Whole) -> bool:
    """Whether the answer is one to give again: complete, and of the target that the next request would ask first."""
    if use.keep != "complete":
        return use.keep == "all"
    first = work.plan.steps[0]
    if (ctx.endpoint, ctx.upstream_model) != (first.upstream, first.model):
        return False
    try:
        return _ending.decode(reply.message).stop_reason in COMPLETE
    except msgspec.DecodeError:
        return False


def _given(ctx: RequestContext, use: Use, answer: Answer, word: str, age: float = 0.0, kept: Any = None) -> bytes:
    """The message of an answer that another request has paid for."""
    ctx.cache, ctx.cache_age, ctx.kept = word, int(age), kept
    ctx.shared = word == "shared"
    ctx.upstream_model = answer.upstream_model
    note_adjustments(ctx, use.adjustments)
    return answer.message
