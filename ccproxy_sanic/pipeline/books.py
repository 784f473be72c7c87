"""What is asked of the actors, and their errors as ours.

Rule: the one seam where the actors' errors become a :class:`ProxyError`.
"""

from __future__ import annotations

from typing import Final

import actors
from actors.cache import Hit, Lead, Lookup
from actors.provider import Outcome, Unavailable
from actors.rate_limiter import Admit, Permit
from actors.rate_limiter import RateLimited as OverBudget
from ccproxy_sanic import errors
from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.pipeline.house import House

BYTES_PER_TOKEN: Final = 3.6  # protocol.md 6.5: the estimate that needs no tokenizer

# how a fault counts for the endpoint that was used: a client's mistake is never held against it
OUTCOME_OF: Final[tuple[tuple[type[errors.ProxyError], Outcome], ...]] = (
    (errors.Throttled, Outcome.THROTTLED),
    (errors.TimedOut, Outcome.TIMEOUT),
    (errors.Broken, Outcome.BROKEN),
    (errors.PromptTooLong, Outcome.CLIENT_FAULT),
    (errors.ClientFault, Outcome.CLIENT_FAULT),
)
# upstream statuses that say that the key is no good: refused, not allowed, without money
KEY_REFUSED: Final = frozenset({401, 402, 403, 498})


def outcome_of(fault: errors.ProxyError, status: int = 0) -> Outcome:
    """How ``fault`` counts in the provider's book; ``status`` is the upstream's own, 0 where there was none."""
    if status in KEY_REFUSED:
        return Outcome.KEY_REFUSED
    for kind, outcome in OUTCOME_OF:
        if isinstance(fault, kind):
            return outcome
    return Outcome.UPSTREAM_FAULT if fault.status >= 500 else Outcome.CLIENT_FAULT


async def admitted(house: House, ctx: RequestContext) -> Permit:
    """Leave of the limiter; to be given back with :func:`settle`.  Raises RateLimited, Overloaded, TimedOut."""
    began = house.timer()
    with actor_faults():
        permit: Permit = await house.limiter.ask(
            Admit(ctx.caller.key, int(ctx.bytes_in / BYTES_PER_TOKEN)), deadline=ctx.deadline
        )
    ctx.queue_s += house.timer() - began
    return permit


def settle(permit: Permit, ctx: RequestContext) -> None:
    """Give it back, with what was used."""
    permit.settle(0 if ctx.shared else ctx.input_tokens + ctx.cache_read_tokens + ctx.output_tokens)


async def lookup(house: House, ctx: RequestContext, key: bytes | None) -> Lead | Hit | None:
    """Hit, Lead (make the call, others wait for it) or None (go alone).  A failing cache is a miss."""
    if key is None:
        return None
    try:
        found = await house.cache.ask(Lookup(key), deadline=ctx.deadline)
    except actors.ActorError:
        return None
    return found if isinstance(found, (Hit, Lead)) else None


class actor_faults:
    """Actors' errors that leave the block leave it as ours."""

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
