"""A collector of traces on a real socket: OTLP over HTTP in, spans out.

Rule: what arrived is read as the protocol says; nothing is taken from the process that sent it.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.support.upstream import Reply, ScriptedUpstream, head

TAKEN: Reply = [head(200, 0, content_type="application/x-protobuf")]
KINDS = {trace_pb2.Span.SPAN_KIND_SERVER: "server", trace_pb2.Span.SPAN_KIND_CLIENT: "client"}


@dataclass(frozen=True)
class Span:
    """Ids in hexadecimal, as ``traceparent`` has them; ``parent`` is "" without one."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    state: str
    failed: bool
    attributes: dict[str, Any]
    seconds: float


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None


class Collector(ScriptedUpstream):
    """``async with Collector() as collector: ... collector.url ... collector.spans``."""

    def __init__(self, reply: Reply = TAKEN) -> None:
        super().__init__([reply])

    async def __aenter__(self) -> Collector:
        await super().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/traces"

    @property
    def resource(self) -> dict[str, Any]:
        """What the sender says of itself."""
        [first, *_] = self._read()
        return {pair.key: _value(pair.value) for pair in first.resource.attributes}

    @property
    def spans(self) -> list[Span]:
        """All spans, by their beginning."""
        found = [span for batch in self._read() for scope in batch.scope_spans for span in scope.spans]
        return [
            Span(
                name=span.name,
                kind=KINDS[span.kind],
                trace=span.trace_id.hex(),
                id=span.span_id.hex(),
                parent=span.parent_span_id.hex(),
                state=span.trace_state,
                failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
                attributes={pair.key: _value(pair.value) for pair in span.attributes},
                seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
            )
            for span in sorted(found, key=lambda span: span.start_time_unix_nano)
        ]

    def _read(self) -> list[Any]:
        return [
            batch
            for received in self.requests
            for batch in ExportTraceServiceRequest.FromString(received.body).resource_spans
        ]
