"""The official Python SDK as a reader of our streams.  It throws where a stream would break its users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anthropic
import pydantic
from anthropic.lib.streaming._messages import accumulate_event

_EVENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(anthropic.types.RawMessageStreamEvent)


def accumulate(events: Sequence[dict[str, Any]]) -> Any:
    """The SDK's final message; every event also has to validate against the SDK's types.  None for an empty stream."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in events:
        if event["type"] in ("ping", "error"):
            continue
        snapshot = accumulate_event(event=_EVENT.validate_python(event), current_snapshot=snapshot, json_bufs=buffers)
    return snapshot
