"""What is told of a request that has ended.  Rule: one event, made from its context."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from actors.metrics import Exchange as Event
from actors.metrics import Exchanges
from ccproxy_sanic import errors
from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.pipeline.house import House
from ccproxy_sanic.translate.adjustments import Adjustment, render
from ccproxy_sanic.translate.usage import Usage

ADJUSTMENTS_SHOWN: Final = 12

OUTCOMES: Final[tuple[tuple[type[errors.ProxyError], str], ...]] = (
    (errors.ClientFault, "client_fault"),
    (errors.PromptTooLong, "client_fault"),  # the upstream was right to refuse
    (errors.UpstreamFault, "upstream_fault"),
)


def note_usage(ctx: RequestContext, usage: Usage) -> None:
    """Write an answer's usage into the request's context."""
    ctx.input_tokens = usage.input_tokens
    ctx.output_tokens = usage.output_tokens
    ctx.cache_read_tokens = usage.cache_read_input_tokens
    ctx.cache_write_tokens = usage.cache_creation_input_tokens
    ctx.thinking_tokens = usage.thinking_tokens or 0
    ctx.cost_usd = usage.cost


def note_adjustments(ctx: RequestContext, adjustments: Sequence[Adjustment]) -> None:
    """Write into the request's context what was changed so that the upstream could take it."""
    if adjustments:
        ctx.adjustments = tuple([one.code for one in adjustments])
        ctx.notes = render(adjustments, ADJUSTMENTS_SHOWN)
    else:
        ctx.adjustments, ctx.notes = (), ""


def outcome(fault: errors.ProxyError | None) -> str:
    """What is counted of a request that ended so."""
    if fault is None:
        return "ok"
    return next((name for kind, name in OUTCOMES if isinstance(fault, kind)), "house_fault")


class Hits:
    """What is told of requests that were answered at once: together, once in a turn of the loop."""

    def __init__(self, house: House) -> None:
        self._house, self._loop = house, asyncio.get_running_loop()
        self._waiting: list[Event] = []

    def event_of(self, ctx: RequestContext) -> Event:
        return event_of(self._house, ctx, 200, "ok", None)

    def report(self, event: Event) -> None:
        if not self._waiting:
            self._loop.call_soon(self._tell)
        self._waiting.append(event)

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._house.metrics.tell(Exchanges(waiting))


def report(house: House, ctx: RequestContext, status: int, outcome: str, error_type: str | None) -> None:
    """Tell the metrics actor of a request that has ended: the only event there is."""
    house.metrics.tell(event_of(house, ctx, status, outcome, error_type))


def event_of(house: House, ctx: RequestContext, status: int, outcome: str, error_type: str | None) -> Event:
    hops, duration = ctx.hops, house.timer() - ctx.began
    # What an upstream did not answer in full can't be told apart.
    waited = ctx.queue_s + ctx.upstream_s + ctx.flow_s if ctx.upstream_s and outcome == "ok" else duration
    # In the order of the event's fields: 31 names would cost five times as much as the event.
    return Event(
        ctx.request_id,
        ctx.path,
        ctx.caller.name,
        status,
        outcome,
        error_type,
        ctx.session,
        ctx.client_model,
        ctx.upstream_model,
        ctx.endpoint,
        ctx.stream,
        ctx.input_tokens,
        ctx.output_tokens,
        ctx.cache_read_tokens,
        ctx.cache_write_tokens,
        ctx.thinking_tokens,
        duration,
        ctx.queue_s,
        ctx.upstream_s or None,
        ctx.first_content_s,
        ctx.translate_s,
        len(hops) - 1 if hops else 0,  # retries
        ctx.rule,
        hops,
        ctx.adjustments,
        ctx.bytes_in,
        ctx.bytes_out,
        ctx.shared,
        ctx.cache,
        duration - waited or None,  # overhead
        ctx.cost_usd,
    )
