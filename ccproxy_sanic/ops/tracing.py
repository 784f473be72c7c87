"""OpenTelemetry spans: one SERVER span per request, one CLIENT span per upstream that it asks.

Rule: only what is counted and logged too gets into a span: names, numbers, outcomes; never a prompt, an answer, a key
or a query string.  A request only fills a bounded queue; a thread of OpenTelemetry's sends it away.

Imported by nobody unless TRACING_ENABLED is set: OpenTelemetry costs 15 MB and 100 ms at start.  Names are those of the
semantic conventions for HTTP (stable) and for generative AI (1.41, in development).
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ccproxy_sanic import __version__
from ccproxy_sanic.context import Answer, RequestContext, new_id
from ccproxy_sanic.settings import Settings

PATIENCE: Final = 3.0  # seconds that the last spans have to leave when the server stops
# Well-known values of gen_ai.provider.name; any other profile goes by its own name.
PROVIDER: Final = {
    "azure": "azure.ai.openai",
    "flat": "openai",
    "gemini": "gcp.gemini",
    "generic": "openai",  # the name says which dialect is spoken, not who answers
    "mistral": "mistral_ai",
    "openai-breakpoints": "openai",
    "openai-reasoning": "openai",
    "xai": "x_ai",
}
MAX_NAME: Final = 200  # characters of a name that a client chose
REMEMBERED: Final = 1024  # such names
CLOSED: Final = "client_closed"
_BREAKS: Final = frozenset({"client_closed", "cancelled"})
_propagator: Final = TraceContextTextMapPropagator()


class Tracer:
    """What makes the spans of a process and sends them to where TRACING_EXPORTER says.

    ``redact`` keeps secrets out of names that clients chose.  The sampler is OTEL_TRACES_SAMPLER's: without it, what
    the client's ``traceparent`` says, and all that has none.
    """

    def __init__(self, settings: Settings, redact: Callable[[str], str]) -> None:
        self._name = lru_cache(REMEMBERED)(lambda name: redact(name[:MAX_NAME]))
        resource = Resource.create(
            {
                "service.name": settings.tracing_service_name,
                "service.version": __version__,
                "service.instance.id": new_id(""),
            }
        )
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_exporter(settings)))
        self._tracer = self._provider.get_tracer("ccproxy_sanic", __version__)

    def begin(
        self,
        ctx: RequestContext,
        *,
        method: str,
        scheme: str,
        client: str,
        traceparent: str,
        tracestate: str,
        agent: str,
    ) -> Trace:
        """The span of a request that has just been read (context.Tracer)."""
        around = Context()  # never what the thread's context happens to hold
        if traceparent:
            around = _propagator.extract({"traceparent": traceparent, "tracestate": tracestate}, around)
        span = self._tracer.start_span(
            f"{method} {ctx.path}",
            around,
            SpanKind.SERVER,
            {
                "http.request.method": method,
                "http.route": ctx.path,
                "url.path": ctx.path,
                "url.scheme": scheme,
                "client.address": client,
                "user_agent.original": self._name(agent),
                "ccproxy.request_id": ctx.request_id,
            },
        )
        return Trace(self._start, self._name, span, ctx)

    def _start(self, name: str, parent: Context, attributes: Mapping[str, Any]) -> Span:
        return self._tracer.start_span(name, parent, SpanKind.CLIENT, attributes)

    async def close(self) -> bool:
        """Send what waits; whether that was done in time.  A collector that does not answer costs no more than that."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # the loop has gone
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=shut, name="ccproxy-tracing", daemon=True).start()
        try:
            async with asyncio.timeout(PATIENCE):
                await done.wait()
        except TimeoutError:
            return False
        return True


def _exporter(settings: Settings) -> SpanExporter:
    if settings.tracing_exporter == "console":
        return ConsoleSpanExporter(out=sys.stderr, formatter=lambda span: span.to_json(indent=None) + "\n")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=settings.tracing_endpoint)


class Trace:
    """The spans of one request (context.Trace)."""

    __slots__ = ("_asked", "_ctx", "_hop", "_name", "_parent", "_server", "_start")

    def __init__(
        self,
        start: Callable[[str, Context, Mapping[str, Any]], Span],
        name: Callable[[str], str],
        server: Span,
        ctx: RequestContext,
    ) -> None:
        self._start, self._name, self._server, self._ctx = start, name, server, ctx
        self._parent = set_span_in_context(server, Context())
        self._hop: Span | None = None
        self._asked = 0.0

    def hop(
        self, upstream: str, profile: str, model: str, operation: str, origin: tuple[bytes, bytes, int]
    ) -> list[tuple[bytes, bytes]]:
        """An upstream is asked now; the headers that make its span a child of this hop's."""
        ctx, model = self._ctx, self._name(model)
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": PROVIDER.get(profile, profile),
            "gen_ai.request.model": model,
            "gen_ai.request.stream": ctx.stream,
            "server.address": origin[1].decode("ascii", "replace"),
            "server.port": origin[2],
            "http.request.method": "POST",
            "ccproxy.upstream": upstream,
        }
        if ctx.session:
            attributes["gen_ai.conversation.id"] = self._name(ctx.session)
        self._hop = span = self._start(f"{operation} {model}", self._parent, attributes)
        self._asked = time.perf_counter()
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, set_span_in_context(span, Context()))
        return [(name.encode("ascii"), value.encode("ascii", "replace")) for name, value in carrier.items()]

    def headed(self, status: int) -> None:
        """Its answer's head is here."""
        if self._hop is not None:
            self._hop.set_attribute("http.response.status_code", status)

    def left(self, answer: Answer | None, fault: Exception | None = None, status: int = 0) -> None:
        """The hop is over; ``status`` is the upstream's own where it refused."""
        if fault is None:
            self._close_hop(answer, None)
        else:
            self._close_hop(answer, str(status) if status else _kind(fault))

    def _close_hop(self, answer: Answer | None, error: str | None) -> None:
        span, self._hop = self._hop, None
        if span is None:
            return
        if span.is_recording():
            if answer is not None:
                span.set_attributes(_said(answer))
            first = self._ctx.first_content_s
            if first is not None and self._ctx.stream:
                # Two clocks: the loop's moves in milliseconds.
                seconds = min(max(0.0, first - (self._asked - self._ctx.began)), time.perf_counter() - self._asked)
                span.set_attribute("gen_ai.response.time_to_first_chunk", seconds)
            if error is not None:
                span.set_attribute("error.type", error)
                if error not in _BREAKS:
                    span.set_status(Status(StatusCode.ERROR))
        span.end()

    def end(self, status: int, outcome: str, error_type: str | None) -> None:
        """The request is over.  ``status`` is what was sent, 0 for nothing; what failed after a 200 is an error too."""
        self._close_hop(None, CLOSED if outcome == CLOSED else "cancelled")
        span, ctx = self._server, self._ctx
        if span.is_recording():
            told: dict[str, Any] = {
                "http.response.status_code": status,
                "http.request.body.size": ctx.bytes_in,
                "http.response.body.size": ctx.bytes_out,
                "error.type": error_type,
                "gen_ai.conversation.id": self._name(ctx.session),
                "ccproxy.outcome": outcome,
                "ccproxy.caller": ctx.caller.name,
                "ccproxy.client_model": self._name(ctx.client_model),
                "ccproxy.rule": ctx.rule,
                "ccproxy.hops": tuple(map(self._name, ctx.hops)),
                "ccproxy.adjustments": ctx.adjustments,
                "ccproxy.shared": ctx.shared,
                "ccproxy.cache": ctx.cache,
            }
            # Each attribute costs OpenTelemetry some 3 us: what says nothing is left out.
            span.set_attributes({name: value for name, value in told.items() if value})
            # A 4xx is no error of a server's (semantic conventions for HTTP, status).
            if error_type is not None and not 400 <= status < 500:
                span.set_status(Status(StatusCode.ERROR))
        span.end()


def _said(answer: Answer) -> dict[str, Any]:
    """What an upstream said of its answer.  Input tokens are all of them here, those of the provider's cache too."""
    usage = answer.usage
    read, written = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
    said: dict[str, Any] = {
        "gen_ai.usage.input_tokens": usage.input_tokens + read + written,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": read,
        "gen_ai.usage.cache_creation.input_tokens": written,
        "gen_ai.usage.reasoning.output_tokens": usage.thinking_tokens,
        "gen_ai.response.finish_reasons": (answer.stop_reason,) if answer.stop_reason else (),
        "gen_ai.response.model": answer.upstream_model,
        "gen_ai.response.id": answer.upstream_id,
    }
    return {name: value for name, value in said.items() if value}


def _kind(fault: Exception) -> str:
    """A fault without a status, in one word."""
    return type(fault).__name__.lower()  # timedout, unreachable, broken, garbled
