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
            retries=max(0, len(ctx.hops) - 1),
            route=ctx.rule,
            hops=ctx.hops,
            adjustments=ctx.adjustments,
            bytes_in=ctx.bytes_in,
            bytes_out=ctx.bytes_out,
            shared=ctx.shared,
        )
    )
