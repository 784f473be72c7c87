"""What is asked of the actors, and their errors as ours.

Rule: the one seam where the actors' errors become a :class:`ProxyError`.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NoReturn

import actors
from actors.provider import Outcome, Unavailable
from actors.rate_limiter import Admit, Budget, Permit
from actors.rate_limiter import RateLimited as OverBudget
from ccproxy_sanic import errors
from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.pipeline.house import House
from ccproxy_sanic.pipeline.work import Work
from ccproxy_sanic.translate.faults import CLI_PATIENCE

if TYPE_CHECKING:
    from ccproxy_sanic.pipeline.way import Way

BYTES_PER_TOKEN: Final = 3.6  # protocol.md 6.5: the estimate that needs no tokenizer

# how a fault counts for the endpoint that was used: a client's mistake is never held against it
OUTCOME_OF: Final[tuple[tuple[type[errors.ProxyError], Outcome], ...]] = (
    (errors.Throttled, Outcome.THROTTLED),
    (errors.TimedOut, Outcome.TIMEOUT),
    (errors.Broken, Outcome.BROKEN),
    (errors.PromptTooLong, Outcome.CLIENT_FAULT),
    (errors.ClientFault, Outcome.CLIENT_FAULT),
    (errors.HouseFault, Outcome.CANCELLED),  # ours: it says nothing about the upstream
    (errors.Exhausted, Outcome.CANCELLED),
)
# upstream statuses that say that the key is no good: refused, not allowed, without money
KEY_REFUSED: Final = frozenset({401, 402, 403, 498})
NOT_OFFERED: Final = 501  # it has no such thing (most have no count_tokens): as well as ever, however often it is asked


def outcome_of(fault: errors.ProxyError, status: int = 0) -> Outcome:
    """How ``fault`` counts in the provider's book; ``status`` is the upstream's own, 0 where there was none."""
    if status in KEY_REFUSED:
        return Outcome.KEY_REFUSED
    for kind, outcome in OUTCOME_OF:
        if isinstance(fault, kind):
            return outcome
    return Outcome.UPSTREAM_FAULT if fault.status >= 500 and status != NOT_OFFERED else Outcome.CLIENT_FAULT


async def admitted(house: House, ctx: RequestContext, work: Work, way: Way, *, alone: bool = False) -> Permit:
    """Leave of the limiter for ``way``; to be given back with :func:`settle`.  ``alone``: by the caller's own limits,
    whatever those of the upstreams say.

    Waits for its turn where that comes within the house's patience.  Raises RateLimited, Overloaded, TimedOut.
    """
    timer = house.timer
    began = timer()
    upstreams = () if alone else work.plan.upstreams
    query = Admit(ctx.caller.key, int(len(work.raw) / BYTES_PER_TOKEN), upstreams, house.patience)
    try:
        permit: Permit = await house.limiter.ask(query, ctx.deadline)
    except OverBudget as refusal:
        ctx.limits = _headers(refusal.budgets, house.now())
        wait = refusal.retry_after
        raise errors.RateLimited(
            f"rate limit of this proxy reached: {refusal}",
            retry_after=min(wait, CLI_PATIENCE) if ctx.client_app == "cli" else wait,
        ) from None
    except actors.ActorError as error:
        reraise(error)
    finally:
        ctx.queue_s += timer() - began
    way.permit = permit
    if (budget := permit.budget) is not None:
        ctx.limits = _headers((budget,), house.now())
    return permit


def settle(permit: Permit, ctx: RequestContext) -> None:
    """Give it back, with what was used; as if it had never been, where no upstream was asked for this request."""
    used = ctx.input_tokens + ctx.cache_read_tokens + ctx.cache_write_tokens + ctx.output_tokens
    if not used and not ctx.hops:
        permit.release()
    elif not used and (ctx.answered or ctx.first_content_s is not None):
        permit.settle(None, ctx.answered)  # the upstream has not said
    else:
        permit.settle(used, ctx.answered)


def _headers(budgets: tuple[Budget, ...], now: float) -> dict[str, str]:
    """What the budgets leave, as the real API says it (protocol.md 5.1)."""
    headers: dict[str, str] = {}
    for budget in budgets:
        name = f"anthropic-ratelimit-{budget.kind}"
        headers[f"{name}-limit"] = str(budget.limit)
        headers[f"{name}-remaining"] = str(budget.remaining)
        headers[f"{name}-reset"] = _timestamp(int(now + budget.reset) + 1)
    return headers


@lru_cache(64)
def _timestamp(seconds: int) -> str:
    """RFC 3339.  Kept: a second has many requests."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def reraise(error: actors.ActorError) -> NoReturn:
    """An actor's error as ours; to be called where it is caught."""
    if isinstance(error, Unavailable):
        raise errors.Overloaded(f"no upstream can be asked now: {error}", retry_after=error.retry_after) from None
    if isinstance(error, actors.Overloaded):
        raise errors.Overloaded("the proxy is overloaded", retry_after=1) from None
    if isinstance(error, actors.Expired):
        raise errors.TimedOut("the request's deadline passed while it waited") from None
    if isinstance(error, actors.Stopped):
        raise errors.Draining("the proxy is shutting down", retry_after=1) from None
    raise errors.Crashed("internal error") from error
