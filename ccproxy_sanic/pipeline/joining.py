"""Which stream requests are one answer, and how they find each other.

Rule: a key holds all that decides what is answered, and its caller: an answer never crosses from one to another
(ARCHITECTURE.md invariant 12).
"""

from __future__ import annotations

from copy import copy
from typing import Any, Final

import actors
from actors.stream_table import Following, Join, StreamLead
from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.pipeline.dialects import Call
from ccproxy_sanic.pipeline.house import House
from ccproxy_sanic.pipeline.keeping import is_greedy
from ccproxy_sanic.pipeline.report import note_usage
from ccproxy_sanic.pipeline.work import Work
from ccproxy_sanic.sharing.reader import Client, Drive, Reader
from ccproxy_sanic.sharing.stream import SharedStream
from ccproxy_sanic.translate.usage import Usage

SAMPLED: Final = 16_384  # bytes of a body above which its hash is made of a sample
SAMPLE: Final = 61  # of every so manieth byte, and of so much of its end, where a turn differs from the one before:
TAIL: Final = 4_096
TRIES: Final = 3  # a stream that is found may be at its end: who comes too late looks again
# what a request says beside its body: it changes the answer of an upstream that speaks the client's own API
SAYING: Final = ("anthropic-version", "anthropic-beta")
COUNTED: Final = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "thinking_tokens",
)


class StreamKey:
    """Equal only where all facts and the whole body are.

    Nobody is compared but running streams, so the hash of a long body need only tell most of them apart: of 100 kB, a
    sample costs 4 us, the hash of all 33 us, and a digest 180 us.
    """

    __slots__ = ("_body", "_facts", "_hash")

    def __init__(self, facts: tuple[str, ...], body: bytes) -> None:
        self._facts, self._body = facts, body
        sample = body if len(body) <= SAMPLED else (body[::SAMPLE], body[-TAIL:])
        self._hash = hash((facts, len(body), sample))

    def __repr__(self) -> str:
        return f"<StreamKey {self._hash:x}, {len(self._body)} bytes>"  # no word of the body

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StreamKey) and self._facts == other._facts and self._body == other._body


def stream_key(house: House, ctx: RequestContext, work: Work, call: Call) -> StreamKey | None:
    """The key under which equal stream requests read one answer, or None where each is a sample of its own.

    The rule is that of whole answers: shared are what the client asks to share, a resend (same session, same body),
    and what is deterministic.
    """
    if work.share is False or not house.streams.enabled:
        return None
    deterministic = house.share != "off" and is_greedy(call, work)
    if not (work.share or ctx.session or deterministic):
        return None
    session = "" if work.share or deterministic else ctx.session
    said = [work.headers.get(name, "") for name in SAYING]
    return StreamKey((ctx.caller.key, session, work.query, *said, *work.route), work.raw)


async def joined(house: House, ctx: RequestContext, key: StreamKey, client: Client, drive: Drive) -> Reader | None:
    """A place in the stream that runs for ``key``, which may be a new one; None: go on alone.  A failing cache is no
    fault."""
    own = SharedStream(house.streams)
    try:
        for _ in range(TRIES):
            found: StreamLead | Following | None = await house.cache.ask(Join(key, own), deadline=ctx.deadline)
            if found is None:
                return None
            if isinstance(found, StreamLead):
                own.lead = found
            stream: SharedStream = found.handle
            if (reader := stream.join(client, ctx, drive)) is not None:
                return reader
    except actors.ActorError:
        pass
    return None


def note_rest(ctx: RequestContext, reader: Reader) -> None:
    """Write into the context of one that has left what nobody has told yet of the answer's usage: each token is counted
    once, whoever reads."""
    answer = reader.stream
    if answer.machine is None or not answer.accounts(reader):
        return
    used, told = answer.machine.usage, answer.told
    answer.told = copy(used)
    if told is not None:
        rest: dict[str, Any] = {name: (getattr(used, name) or 0) - (getattr(told, name) or 0) for name in COUNTED}
        used = Usage(**{name: max(0, count) for name, count in rest.items()})
    note_usage(ctx, used)
    if answer.over and answer.fault is None:
        ctx.answered = True
