"""One request's way through the targets of its plan.

Rule: one upstream call a hop.  As long as nothing of the answer has reached the client, a fault rules out what
:data:`RULED_OUT` says, and the way goes on with what is left; when nothing is, the target that failed last may be asked
again after a pause (pipeline.retry); the last fault is the client's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Final, TypeVar

from actors.provider import Open, Outcome, ProviderLease, Retry
from actors.rate_limiter import Permit
from ccproxy_sanic import errors
from ccproxy_sanic.context import RequestContext, shown
from ccproxy_sanic.pipeline.books import actor_faults, outcome_of
from ccproxy_sanic.pipeline.dialects import DIALECTS, Call, prepare
from ccproxy_sanic.pipeline.house import House
from ccproxy_sanic.pipeline.mending import Mending
from ccproxy_sanic.pipeline.report import note_adjustments
from ccproxy_sanic.pipeline.retry import pause, within
from ccproxy_sanic.pipeline.work import Work
from ccproxy_sanic.routing import Step
from ccproxy_sanic.upstream.exchange import Exchange, open_exchange
from ccproxy_sanic.wire import forwarding

MAX_ERROR: Final = 256 * 1024  # bytes of an upstream's error body that are looked at

VERSION: Final = (b"anthropic-version", b"2023-06-01")  # where the client says none: the real API insists
TRACE_STATE: Final = (b"tracestate", b"")  # belongs to a traceparent: a client's does not go with ours

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
    costs nothing.  ``permit`` is the limiter's, None where there is none.  Raises InvalidRequest."""

    __slots__ = (
        "_affinity",
        "_ctx",
        "_headed",
        "_house",
        "_key",
        "_left",
        "_mending",
        "_retries",
        "_spent",
        "_status",
        "_step",
        "_work",
        "call",
        "permit",
    )

    def __init__(self, house: House, ctx: RequestContext, work: Work) -> None:
        self._house, self._ctx, self._work = house, ctx, work
        self._left = list(work.plan.steps)
        self._spent: frozenset[tuple[str, int]] = frozenset()
        self._affinity = f"{ctx.caller.key}\n{ctx.session}\n{work.plan.rule}" if ctx.session else ""
        self._mending = Mending()
        self._key = self._status = self._retries = 0  # the first two are of the newest hop
        self._headed = False  # the newest hop has got a good head
        self.permit: Permit | None = None
        self._step = self._left[0]
        self.call = prepare(house, ctx, work, self._step)

    async def go(self, use: Use[T], spoken: Callable[[], bool] = lambda: False) -> T:
        """What ``use`` makes of the first good answer; it may fail too, until ``spoken``.  Raises ProxyError."""
        refusal: errors.ProxyError | None = None
        failed = self._step  # where the refusal came from
        while True:
            try:
                return await self.hop(use)
            except errors.InvalidRequest as unfit:  # of this target only: the first one could take the request
                self._left.remove(self._step)
                if refusal is None and not self._left:
                    raise unfit from None
            except errors.Overloaded:
                if refusal is None:
                    raise
                self._left = []  # nobody else has room: what an upstream said tells more
            except errors.ProxyError as fault:
                if spoken() or isinstance(fault, errors.HouseFault) or self._house.clock() >= self._ctx.deadline:
                    raise
                refusal, failed = fault, self._step
                if not (self._repaired(fault) or self._rule_out(fault)):
                    self._left = []
            if not self._left and refusal is not None:
                await self._pause(refusal, failed)

    async def _pause(self, fault: errors.ProxyError, step: Step) -> None:
        """Wait until ``step`` may be asked once more; raises ``fault`` if it may not."""
        house, ctx = self._house, self._ctx
        seconds = pause(house.retry, fault, tried=self._retries, headed=self._headed, chance=house.chance())
        if seconds is None or house.clock() + seconds >= ctx.deadline:
            raise fault
        began = house.timer()
        try:
            with actor_faults():
                await house.provider.ask(Retry(step.upstream), deadline=ctx.deadline)
        except errors.Overloaded:
            raise fault from None
        await asyncio.sleep(seconds)
        ctx.queue_s += house.timer() - began
        self._retries += 1
        self._left = [step]
        self._spent = frozenset()

    async def hop(self, use: Use[T]) -> T:
        """One upstream call.  Raises ProxyError."""
        house, ctx = self._house, self._ctx
        began = house.timer()
        with actor_faults():
            lease = await house.provider.ask(Open(self._names(), self._spent, self._affinity), deadline=ctx.deadline)
        ctx.queue_s += house.timer() - began
        self._key, self._status, self._headed = lease.key_index, 0, False
        try:
            call = self._call_at(lease)
            result = await use(call, await self._opened(call, lease))
            lease.detach()  # its connection is back in the pool: the lease has nothing to abort any more
        except errors.ProxyError as fault:
            self._note_failure(fault)
            lease.done(outcome_of(fault, self._status), fault.asked_wait)
            raise
        except BaseException:
            lease.release()
            raise
        lease.done(Outcome.OK)
        ctx.answered = True
        if ctx.trace is not None:
            ctx.trace.left(call.answer)
        return result

    async def waiting(self, answer: Awaitable[T]) -> T:
        """Wait for the rest of an answer, whose head is there; that is none of our own time."""
        began = self._house.timer()
        try:
            return await answer
        finally:
            self._ctx.flow_s += self._house.timer() - began

    async def _opened(self, call: Call, lease: ProviderLease) -> Exchange:
        """The answer to ``call``, with a good head."""
        house, ctx, work, target = self._house, self._ctx, self._work, call.target
        through = call.api == "messages"
        profile, query = call.profile, work.query if through else ""
        head = target.head(call.api, lease.key_index, profile.messages_key, profile.messages_path, call.suffix, query)
        if ctx.trace is not None:
            call.answer = None
            operation = "count_tokens" if call.suffix else "chat"
            head = head.beside(ctx.trace.hop(target.name, profile.name, call.step.model, operation, head.origin))
        if through:
            own = head.headers if ctx.trace is None else [*head.headers, TRACE_STATE]
            said = forwarding.onward(work.headers.items(), own)
            head = head.beside(said if "anthropic-version" in work.headers else [VERSION, *said])
        deadlines = target.deadlines
        if not call.suffix:  # counting tokens says nothing about how soon answers begin
            deadlines = within(deadlines, lease, work.req, call.step.model, len(call.body))
        if self.permit is not None:
            self.permit.used(target.name)
        sent = house.timer()
        exchange = await open_exchange(
            target.transport,
            head,
            call.body,
            deadlines,
            provider=target.name,
            closer=house.closer,
        )
        waited = house.timer() - sent
        ctx.upstream_s += waited
        lease.answered(waited)
        if ctx.trace is not None:
            ctx.trace.headed(exchange.status)
        lease.attach(exchange)
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
        self._headed = True
        self._mending.taken(house, call)
        return exchange

    def _names(self) -> tuple[str, ...]:
        """The upstreams left; those at their limits only where there are no others."""
        if len(self._left) == 1:
            return (self._left[0].upstream,)
        names = dict.fromkeys(step.upstream for step in self._left)
        if self.permit is not None and self.permit.barred:
            names = {name: None for name in names if name not in self.permit.barred} or names
        return tuple(names)

    def _call_at(self, lease: ProviderLease) -> Call:
        """The call of the first target left at the lease's endpoint; what the answer's headers tell is about it."""
        house, ctx, work = self._house, self._ctx, self._work
        step = self._step = next(step for step in self._left if step.upstream == lease.endpoint)
        ctx.endpoint, ctx.upstream_model = step.upstream, step.model
        hop = f"{step.upstream}/{shown(step.model)}"
        ctx.hops = (*ctx.hops, f"{hop};passed={'+'.join(lease.passed)}" if lease.passed else hop)
        if self.call.step is not step:
            self.call = prepare(house, ctx, work, step)
        call = self.call
        note_adjustments(ctx, call.adjustments)
        return call

    def _note_failure(self, fault: errors.ProxyError) -> None:
        ctx = self._ctx
        if ctx.trace is not None:
            ctx.trace.left(self.call.answer, fault, self._status)
        if ctx.hops:  # an actor's fault before the first one is no upstream's
            word = next((word for kind, word in WORDS if isinstance(fault, kind)), str(self._status or fault.status))
            ctx.hops = (*ctx.hops[:-1], f"{ctx.hops[-1]};failed={word}")

    def _repaired(self, fault: errors.ProxyError) -> bool:
        """Whether the upstream said which request it would take: then it gets that, once (protocol.md 5.6)."""
        mended = self._mending.repaired(self._house, self._ctx, self._work, self.call, fault)
        if mended is not None:
            self.call = mended
        return mended is not None

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
            if self.permit is not None and isinstance(fault, errors.Throttled):
                self.permit.throttled(step.upstream, fault.asked_wait)
            extent = Extent.UPSTREAM if refused else Extent.TARGET
        if extent is Extent.UPSTREAM:
            self._left = [other for other in self._left if other.upstream != step.upstream]
        else:
            self._left.remove(step)
            self._spent = frozenset(pair for pair in self._spent if pair[0] != step.upstream)
        # What is at its limit, or was asked to pause, stays passed over: rather the same target again than that one.
        barred = self.permit.barred if self.permit is not None else ()
        return any(other.upstream not in barred for other in self._left)

    def _extent(self, fault: errors.ProxyError) -> Extent | None:
        for kind, extent in RULED_OUT:
            if isinstance(fault, kind):
                return extent
        return Extent.TARGET if isinstance(fault, errors.UpstreamFault) and fault.status >= 500 else None
