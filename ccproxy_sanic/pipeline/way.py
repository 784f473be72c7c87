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

import actors
from actors import ActorError
from actors.provider import Open, Outcome, ProviderLease, Retry, Unavailable
from actors.rate_limiter import Permit
from ccproxy_sanic import errors
from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.pipeline.books import outcome_of, reraise
from ccproxy_sanic.pipeline.dialects import Call, lane_of, prepare
from ccproxy_sanic.pipeline.house import House
from ccproxy_sanic.pipeline.mending import Mending
from ccproxy_sanic.pipeline.report import note_adjustments
from ccproxy_sanic.pipeline.retry import pause, within
from ccproxy_sanic.pipeline.work import Work
from ccproxy_sanic.routing import Step
from ccproxy_sanic.upstream.exchange import Exchange, Head, open_exchange
from ccproxy_sanic.wire import forwarding

NONE_SPENT: Final[frozenset[tuple[str, int]]] = frozenset()
OK: Final = Outcome.OK  # a member is looked up in its class by Python code, and most hops end so
HEADS_KEPT: Final = 8  # of what a client's headers were made into: one for each upstream and key that it comes to
MAX_ERROR: Final = 256 * 1024  # bytes of an upstream's error body that are looked at

VERSION: Final = (b"anthropic-version", b"2023-06-01")  # where the client says none: the real API insists
TRACE_STATE: Final = (b"tracestate", b"")  # belongs to a traceparent: a client's does not go with ours

T = TypeVar("T")
Use = Callable[["Way", Call, Exchange], Awaitable[T]]


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
        "_called",
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
        plan = work.plan
        self._house, self._ctx, self._work = house, ctx, work
        self._left = plan.steps
        self._spent = NONE_SPENT
        self._affinity = f"{ctx.caller.key}\n{ctx.session}\n{plan.rule}" if ctx.session else ""
        self._mending: Mending | None = None
        self._key = self._status = self._retries = 0  # the first two are of the newest hop
        self._headed = False  # the newest hop has got a good head
        self.permit: Permit | None = None
        self._step = self._called = plan.steps[0]  # the newest hop's, and that of the call
        self.call = prepare(house, ctx, work, self._step)

    async def go_on(self, fault: errors.ProxyError, use: Use[T], spoken: Callable[[], bool] = lambda: False) -> T:
        """After the first hop has failed with ``fault``: what ``use`` makes of the first good answer; it may fail too,
        until ``spoken``.  Raises ProxyError.

        The first hop is the caller's own (:meth:`hop`): most requests need no other.
        """
        refusal: errors.ProxyError | None = None
        failed = self._step  # where the refusal came from
        try:
            while True:
                if isinstance(fault, errors.InvalidRequest):  # of this target only: the first could take the request
                    self._drop(self._step)
                    if refusal is None and not self._left:
                        raise fault from None
                elif isinstance(fault, errors.Overloaded):
                    if refusal is None:
                        raise fault
                    self._left = ()  # nobody else has room: what an upstream said tells more
                else:
                    if spoken() or isinstance(fault, errors.HouseFault) or self._house.clock() >= self._ctx.deadline:
                        raise fault
                    refusal, failed = fault, self._step
                    if not (self._repaired(fault) or self._rule_out(fault)):
                        self._left = ()
                if not self._left and refusal is not None:
                    await self._pause(refusal, failed)
                try:
                    return await self.hop(use)
                except errors.ProxyError as newest:
                    fault = newest
        finally:  # their tracebacks hold this frame, and it the request: only the collector would free them
            del fault, refusal

    async def _pause(self, fault: errors.ProxyError, step: Step) -> None:
        """Wait until ``step`` may be asked once more; raises ``fault`` if it may not."""
        house, ctx = self._house, self._ctx
        seconds = pause(house.retry, fault, tried=self._retries, headed=self._headed, chance=house.chance())
        began = house.timer()
        try:
            if seconds is None or house.clock() + seconds >= ctx.deadline:
                raise fault
            await house.provider.ask(Retry(step.upstream), ctx.deadline)
        except ActorError as error:
            if isinstance(error, (Unavailable, actors.Overloaded)):
                raise fault from None
            reraise(error)
        finally:
            del fault
        await asyncio.sleep(seconds)
        ctx.queue_s += house.timer() - began
        self._retries += 1
        self._left = (step,)
        self._spent = NONE_SPENT

    async def hop(self, use: Use[T]) -> T:
        """One upstream call.  Raises ProxyError."""
        house, ctx, timer = self._house, self._ctx, self._house.timer
        began = timer()
        try:
            lease = await house.provider.ask(Open(self._names(), self._spent, self._affinity), ctx.deadline)
        except ActorError as error:
            reraise(error)
        ctx.queue_s += timer() - began
        self._key, self._status, self._headed = lease.key_index, 0, False
        try:
            call = self._call_at(lease)
            head, target = self._head(call, lease), call.lane.target
            deadlines = target.deadlines
            if not call.suffix:  # counting tokens says nothing about how soon answers begin
                deadlines = within(deadlines, lease, self._work.req, call.lane.step.model, len(call.body))
            if self.permit is not None:
                self.permit.used(target.name)
            sent = timer()
            exchange = await open_exchange(target.transport, head, call.body, deadlines, target.name, house.closer)
            waited = timer() - sent
            ctx.upstream_s += waited
            lease.answered(waited)
            lease.attach(exchange)
            self._note_head(call, exchange)
            if exchange.status >= 300:
                raise await self._refusal(call, exchange)
            self._headed = True
            if self._mending is not None:
                self._mending.taken(house, call)
            result = await use(self, call, exchange)
            lease.detach()  # its connection is back in the pool: the lease has nothing to abort any more
        except errors.ProxyError as fault:
            self._note_failure(fault)
            lease.done(outcome_of(fault, self._status), fault.asked_wait)
            raise
        except BaseException:
            lease.release()
            raise
        lease.done(OK)
        ctx.answered = True
        if ctx.trace is not None:
            ctx.trace.left(call.answer)
        return result

    async def waiting(self, answer: Awaitable[T]) -> T:
        """Wait for the rest of an answer, whose head is there; that is none of our own time."""
        timer = self._house.timer
        began = timer()
        try:
            return await answer
        finally:
            self._ctx.flow_s += timer() - began

    def _names(self) -> tuple[str, ...]:
        """The upstreams left; those at their limits only where there are no others."""
        plan, barred = self._work.plan, () if self.permit is None else self.permit.barred
        if self._left is plan.steps and not barred:
            return plan.upstreams
        names = tuple(dict.fromkeys([step.upstream for step in self._left]))
        return tuple([name for name in names if name not in barred]) or names

    def _call_at(self, lease: ProviderLease) -> Call:
        """The call of the first target left at the lease's endpoint; what the answer's headers tell is about it."""
        house, ctx, work = self._house, self._ctx, self._work
        step = self._left[0]
        if step.upstream != lease.key:
            step = next(step for step in self._left if step.upstream == lease.key)
        self._step = step
        ctx.endpoint, ctx.upstream_model = step.upstream, step.model
        lane = self.call.lane if step is self._called else lane_of(house, work.upstreams, step)
        if lease.passed:
            ctx.hops = (*ctx.hops, f"{lane.hop};passed={'+'.join(lease.passed)}")
        else:
            ctx.hops = (*ctx.hops, lane.hop) if ctx.hops else lane.hops
        if step is not self._called:
            self.call = prepare(house, ctx, work, step)
            self._called = step
        call = self.call
        if call.adjustments or ctx.adjustments:  # those of the hop before
            note_adjustments(ctx, call.adjustments)
        return call

    def _head(self, call: Call, lease: ProviderLease) -> Head:
        """What is said before the body."""
        lane, trace = call.lane, self._ctx.trace
        head = lane.head(lease.key_index, call.suffix, self._work.query if lane.through else "")
        if trace is not None:
            call.answer = None
            operation = "count_tokens" if call.suffix else "chat"
            head = head.beside(trace.hop(lane.target.name, lane.profile.name, lane.step.model, operation, head.origin))
        return self._clients(head) if lane.through else head

    def _clients(self, head: Head) -> Head:
        """``head`` with what the client's own headers say beside it.  Raises InvalidRequest."""
        work, known = self._work, self._work.onward
        if known is not None and (found := known.get(head)) is not None:
            return found
        own = head.headers if self._ctx.trace is None else [*head.headers, TRACE_STATE]
        said = forwarding.onward(work.headers.items(), own)
        found = head.beside(said if "anthropic-version" in work.headers else [VERSION, *said])
        if known is not None and self._ctx.trace is None:  # else there is another head for each request
            if len(known) >= HEADS_KEPT:
                known.clear()
            known[head] = found
        return found

    def _note_head(self, call: Call, exchange: Exchange) -> None:
        ctx = self._ctx
        if ctx.trace is not None:
            ctx.trace.headed(exchange.status)
        if call.lane.through:
            ctx.upstream_headers = forwarding.returned(exchange.raw_headers)
        elif ctx.upstream_headers:  # of the hop before
            ctx.upstream_headers = {}

    async def _refusal(self, call: Call, exchange: Exchange) -> errors.ProxyError:
        """The fault that an answer is that is no success."""
        ctx, self._status = self._ctx, exchange.status
        return call.lane.dialect.fault(
            exchange.status,
            exchange.headers,
            await exchange.read(MAX_ERROR),
            client_app=ctx.client_app or None,
            now=self._house.now(),
            asked=self._work.req.max_tokens,
        )

    def _note_failure(self, fault: errors.ProxyError) -> None:
        ctx = self._ctx
        if ctx.trace is not None:
            ctx.trace.left(self.call.answer, fault, self._status)
        if ctx.hops:  # an actor's fault before the first one is no upstream's
            word = next((word for kind, word in WORDS if isinstance(fault, kind)), str(self._status or fault.status))
            ctx.hops = (*ctx.hops[:-1], f"{ctx.hops[-1]};failed={word}")

    def _repaired(self, fault: errors.ProxyError) -> bool:
        """Whether the upstream said which request it would take: then it gets that, once (protocol.md 5.6)."""
        if self._mending is None:
            self._mending = Mending()
        mended = self._mending.repaired(self._house, self._ctx, self._work, self.call, fault)
        if mended is not None:
            self.call = mended
        return mended is not None

    def _rule_out(self, fault: errors.ProxyError) -> bool:
        step, keys = self._step, self.call.lane.target.keys
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
            self._left = tuple([other for other in self._left if other.upstream != step.upstream])
        else:
            self._drop(step)
            self._spent = frozenset(pair for pair in self._spent if pair[0] != step.upstream)
        # What is at its limit, or was asked to pause, stays passed over: rather the same target again than that one.
        barred = self.permit.barred if self.permit is not None else ()
        return any(other.upstream not in barred for other in self._left)

    def _drop(self, step: Step) -> None:
        self._left = tuple([other for other in self._left if other is not step])

    def _extent(self, fault: errors.ProxyError) -> Extent | None:
        for kind, extent in RULED_OUT:
            if isinstance(fault, kind):
                return extent
        return Extent.TARGET if isinstance(fault, errors.UpstreamFault) and fault.status >= 500 else None
