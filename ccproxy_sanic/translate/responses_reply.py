"""The body of a Responses answer that was not streamed.

Rule: the stream's machine reads it, so that both ways of asking give the same message; what the body is decides how it
is read, not what was asked for (some servers always stream).
"""

from __future__ import annotations

from ..errors import Garbled
from .block_list import BlockList
from .reply_spec import ReplySpec
from .response import JSON_HEADS, NOT_JSON, SSE_HEADS
from .responses_stream import NO_OUTPUT, ResponsesTranslator
from .whole_reply import Reply, reply_of

__all__ = ["Reply", "to_message"]


def to_message(body: bytes, spec: ReplySpec) -> Reply:
    """Raises ProxyError: not JSON, an error object in spite of the status, an answer that failed or has no output."""
    body = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    blocks = BlockList(spec)
    machine = ResponsesTranslator(spec, blocks)
    if body.startswith(JSON_HEADS):
        machine.whole(body)
    elif body.startswith(SSE_HEADS):
        machine.feed(body)
        machine.close()
    else:
        raise Garbled(NOT_JSON)
    if machine.fault is not None or machine.stop is None:
        raise machine.fault or Garbled(NO_OUTPUT)
    return reply_of(
        spec,
        blocks.blocks,
        machine.stop,
        machine.usage,
        machine.finish_reason,
        machine.upstream_id,
        machine.upstream_model,
    )
