"""What is told of a request that has ended.  Rule: one event, made from its context."""

from __future__ import annotations

from actors.metrics import Exchange as Event
from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.pipeline.house import House
from ccproxy_sanic.translate.usage import Usage


def note_usage(ctx: RequestContext, usage: Usage) -> None:
    """Write an answer's usage into the request's context."""
    ctx.input_tokens = usage.input_tokens
    ctx.output_tokens = usage.output_tokens
    ctx.cache_read_tokens = usage.cache_read_input_tokens
    ctx.cache_write_tokens = usage.cache_creation_input_tokens
    ctx.thinking_tokens = usage.thinking_tokens or 0


def report(house: House, ctx: RequestContext, status: int, outcome: str, error_type: str | None) -> None:
    """Tell the metrics actor of a request that has ended: the only event there is."""
    hops = ctx.hops
    house.metrics.tell(
        # In the order of the event's fields: 28 names would cost five times as much as the event.
        Event(
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
            house.timer() - ctx.began,
            ctx.queue_s,
            ctx.upstream_s,
            ctx.first_content_s,
            ctx.translate_s,
            len(hops) - 1 if hops else 0,  # retries
            ctx.rule,
            hops,
            ctx.adjustments,
            ctx.bytes_in,
            ctx.bytes_out,
            ctx.shared,
        )
    )
