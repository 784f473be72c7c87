"""One request's way through the targets of its plan.

Rule: one upstream call a hop.  As long as nothing of the answer has reached the client, a fault rules out what
:data:`RULED_OUT` says, and the way goes on with what is left; the last fault is the client's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Final, TypeVar

from actors.provider import Open, Outcome
from ccproxy_sanic import errors
from ccproxy_sanic.context import RequestContext, shown
from ccproxy_sanic.pipeline.books import actor_faults, outcome_of
from ccproxy_sanic.pipeline.dialects import DIALECTS, Call, prepare
from ccproxy_sanic.pipeline.house import House
from ccproxy_sanic.pipeline.work import Work
from ccproxy_sanic.translate.adjustments import render
from ccproxy_sanic.translate.second_try import Repair, repair_of
from ccproxy_sanic.upstream.exchange import Exchange, open_exchange
from ccproxy_sanic.wire import forwarding

MAX_ERROR: Final = 256 * 1024  # bytes of an upstream's error body that are looked at
ADJUSTMENTS_SHOWN: Final = 12

VERSION: Final = (b"anthropic-version", b"2023-06-01")  # where the client says none: the real API insists

T = TypeVar("T")
Use = Callable[[Call, Exchange], Awaitable[T]]


class Extent(Enum):
    """How much a fault says is of no use any more."""

    KEY = auto()  # this key; without another one, this target
    TARGET = auto()  # this model at this upstream
    UPSTREAM = auto()  # all its models


# What a fault rules out, the first line that fits; everything else ends the way: any upstream would say the same.
RULED_OUT: Final[tuple[tuple[type[errors.ProxyError], Extent], ...]] = (
    (errors.Throttled, Extent.KEY),
    (errors.Unreachable, Extent.UPSTREAM),
    (errors.PromptTooLong, Extent.TARGET),  # another model may have a larger window
    (errors.TimedOut, Extent.TARGET),
    (errors.Garbled, Extent.TARGET),
    (errors.Broken, Extent.TARGET),
)
# what a hop that failed is called in x-ccproxy-route; any other by its status
WORDS: Final[tuple[tuple[type[errors.ProxyError], str], ...]] = (
    (errors.Unreachable, "unreachable"),
    (errors.PromptTooLong, "overflow"),
    (errors.TimedOut, "timeout"),
    (errors.Garbled, "garbled"),
    (errors.Broken, "broken"),
    (errors.InvalidRequest, "unfit"),  # not asked: its profile can't take the request
)


class Way:
    """``call`` is the newest call; the first one is translated at once, so that a request that can't be translated
    costs nothing.  Raises InvalidRequest."""

    __slots__ = (
        "_affinity",
        "_ctx",
        "_house",
        "_key",
        "_left",
        "_repairs",
        "_spent",
        "_stale",
        "_status",
        "_step",
        "_work",
        "call",
    )

    def __init__(self, house: House, ctx: RequestContext, work: Work) -> None:
        self._house, self._ctx, self._work = house, ctx, work
        self._left = list(work.plan.steps)
        self._spent: frozenset[tuple[str, int]] = frozenset()
        self._affinity = f"{ctx.caller.key}\n{ctx.session}\n{work.plan.rule}" if ctx.session else ""
        self._repairs: tuple[Repair, ...] = ()  # of the newest call's target
        self._stale = False  # the newest call is to be translated again
        self._key = self._status = 0  # of the newest hop
        self._step = self._left[0]
        self.call = prepare(house, ctx, work, self._step)

    async def go(self, use: Use[T], spoken: Callable[[], bool] = lambda: False) -> T:
        """What ``use`` makes of the first good answer; it may fail too, until ``spoken``.  Raises ProxyError."""
        refusal: errors.ProxyError | None = None
        while True:
            try:
                return await self.hop(use)
            except errors.InvalidRequest as unfit:  # of this target only: the first one could take the request
                self._left.remove(self._step)
                if not self._left:
                    raise refusal or unfit from None
            except errors.ProxyError as fault:
                if spoken() or not self._goes_on(fault):
                    raise
                refusal = fault

    async def hop(self, use: Use[T]) -> T:
        """One upstream call.  Raises ProxyError."""
        house, ctx = self._house, self._ctx
        began = house.timer()
        with actor_faults():
            lease = await house.provider.ask(Open(self._names(), self._spent, self._affinity), deadline=ctx.deadline)
        ctx.queue_s += house.timer() - began
        self._key, self._status = lease.key_index, 0
        try:
            call = self._call_at(lease.endpoint)
            result = await use(call, await self._opened(call, lease.key_index, lease.attach))
            lease.detach()  # its connection is back in the pool: the lease has nothing to abort any more
        except errors.ProxyError as fault:
            self._note_failure(fault)
            lease.done(outcome_of(fault, self._status), fault.retry_after)
            raise
        except BaseException:
            lease.release()
            raise
        lease.done(Outcome.OK)
        return result

    async def _opened(self, call: Call, key: int, attach: Callable[[Exchange], None]) -> Exchange:
        """The answer to ``call``, with a good head."""
        house, ctx, work, target = self._house, self._ctx, self._work, call.target
        through = call.api == "messages"
        profile, query = call.profile, work.query if through else ""
        head = target.head(call.api, key, profile.messages_key, profile.messages_path, call.suffix, query)
        if through:
            said = forwarding.onward(work.headers.items(), head.headers)
            head = head.beside(said if "anthropic-version" in work.headers else [VERSION, *said])
        sent = house.timer()
        exchange = await open_exchange(
            target.transport,
            head,
            call.body,
            target.deadlines,
            provider=target.name,
            closer=house.closer,
        )
        ctx.upstream_s += house.timer() - sent
        attach(exchange)
        ctx.upstream_headers = forwarding.returned(exchange.headers) if through else {}
        if exchange.status >= 300:
            self._status = exchange.status
            raise DIALECTS[call.api].fault(
                exchange.status,
                exchange.headers,
                await exchange.read(MAX_ERROR),
                client_app=ctx.client_app or None,
                now=house.now(),
                asked=work.req.max_tokens,
            )
        return exchange

    def _names(self) -> tuple[str, ...]:
        if len(self._left) == 1:
            return (self._left[0].upstream,)
        return tuple(dict.fromkeys(step.upstream for step in self._left))

    def _call_at(self, endpoint: str) -> Call:
        """The call of the first target left at ``endpoint``; what the answer's headers tell is about it."""
        house, ctx, work = self._house, self._ctx, self._work
        step = self._step = next(step for step in self._left if step.upstream == endpoint)
        ctx.endpoint, ctx.upstream_model = step.upstream, step.model
        ctx.hops = (*ctx.hops, f"{step.upstream}/{shown(step.model)}")
        if self._stale or self.call.step is not step:
            repairs = self._repairs if self.call.step is step else ()
            self._repairs, self._stale = repairs, False
            switches = {
                name: value for repair in repairs if not repair.lasts for name, value in repair.switches.items()
            }
            self.call = prepare(house, ctx, work, step, switches)
        call = self.call
        ctx.adjustments = tuple(adjustment.code for adjustment in call.adjustments)
        ctx.notes = render(call.adjustments, ADJUSTMENTS_SHOWN) if call.adjustments else ""
        return call

    def _note_failure(self, fault: errors.ProxyError) -> None:
        ctx = self._ctx
        if ctx.hops:  # an actor's fault before the first one is no upstream's
            word = next((word for kind, word in WORDS if isinstance(fault, kind)), str(self._status or fault.status))
            ctx.hops = (*ctx.hops[:-1], f"{ctx.hops[-1]};failed={word}")

    def _goes_on(self, fault: errors.ProxyError) -> bool:
        """Whether anything is left to try after ``fault``."""
        if isinstance(fault, errors.HouseFault):
            return False
        return self._repaired(fault) or self._rule_out(fault)

    def _repaired(self, fault: errors.ProxyError) -> bool:
        """Whether the upstream said which request it would take: then it gets that, once (protocol.md 5.6)."""
        call = self.call
        repair = repair_of(fault, call.api)
        if repair is None or repair in self._repairs or ("api" in repair.switches and call.target.api is not None):
            return False
        if repair.lasts:
            self._house.learn(call.target, call.step.model, repair.switches)
        self._repairs = (*self._repairs, repair)
        self._stale = True
        return True

    def _rule_out(self, fault: errors.ProxyError) -> bool:
        step, keys = self._step, self.call.target.keys
        refused = outcome_of(fault, self._status) is Outcome.KEY_REFUSED
        extent = Extent.KEY if refused else self._extent(fault)
        if extent is None:
            return False
        if extent is Extent.KEY:
            self._spent |= {(step.upstream, self._key)}
            if sum(name == step.upstream for name, _ in self._spent) < max(1, len(keys)):
                return True
            extent = Extent.UPSTREAM if refused else Extent.TARGET
        if extent is Extent.UPSTREAM:
            self._left = [other for other in self._left if other.upstream != step.upstream]
        else:
            self._left.remove(step)
            self._spent = frozenset(pair for pair in self._spent if pair[0] != step.upstream)
        return bool(self._left)

    def _extent(self, fault: errors.ProxyError) -> Extent | None:
        for kind, extent in RULED_OUT:
            if isinstance(fault, kind):
                return extent
        return Extent.TARGET if isinstance(fault, errors.UpstreamFault) and fault.status >= 500 else None
