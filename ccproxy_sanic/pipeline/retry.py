"""Whether a fault is worth another attempt, after what pause, and for how long an attempt may be silent.

Rule: nothing is asked here, nobody waits here; the provider's budget has the last word on a retry (pipeline.way).
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from actors.provider import Manner, ProviderLease
from ccproxy_sanic import errors
from ccproxy_sanic.upstream.exchange import Deadlines
from ccproxy_sanic.wire.anthropic import MessagesRequest

PATIENCE: Final = 20.0  # seconds: an upstream that wants longer to be left alone is not waited for (protocol.md 5.2)
SLOWEST: Final = 10.0  # tokens per second of the slowest model that is worth waiting for

# faults that a second attempt at the same target may not meet; a status of 500 or more is another
PASSING: Final = (errors.Throttled, errors.Unreachable, errors.Garbled, errors.Broken)
STREAM: Final = Manner.STREAM  # members are looked up in their classes by Python code, and this is for each request
WHOLE: Final = Manner.WHOLE


class RetryRules(msgspec.Struct, frozen=True):
    """At most ``most`` further attempts; the n-th pause is ``base`` x 2^n seconds, ``jitter`` of it left to chance."""

    most: int = 2
    base: float = 1.0
    jitter: float = 1.0


def pause(rules: RetryRules, fault: errors.ProxyError, *, tried: int, headed: bool, chance: float) -> float | None:
    """Seconds until the next attempt; None: there is none.

    ``tried``: attempts so far beyond the first; ``headed``: whether the upstream had begun a good answer.
    """
    wait = fault.retry_after or 0.0
    if tried >= rules.most or wait > PATIENCE or fault.should_retry is False or not _passes(fault, headed):
        return None
    longest = rules.base * 2.0**tried
    return max(wait, longest * (1.0 - rules.jitter * chance))


def _passes(fault: errors.ProxyError, headed: bool) -> bool:
    if isinstance(fault, errors.TimedOut):
        return not headed  # what was silent in the middle of an answer has cost minutes already
    return isinstance(fault, PASSING) or (isinstance(fault, errors.UpstreamFault) and fault.status >= 500)


def shape_of(req: MessagesRequest, model: str, size: int) -> int:
    """What tells how soon an answer begins: the model, how it thinks, whether it is streamed, and how long the prompt
    is (``size`` bytes, by powers of two: reading the longest of a class takes twice as long as the shortest).

    A number, so that nothing of a client's is kept.
    """
    thinking = (req.thinking.type, req.thinking.budget_tokens) if req.thinking else None
    effort = req.output_config.effort if req.output_config else None
    return hash((model, req.stream, thinking, effort, size.bit_length()))


def within(deadlines: Deadlines, lease: ProviderLease, req: MessagesRequest, model: str, size: int) -> Deadlines:
    """``deadlines`` with what the lease knows of the first byte, where that is less.

    The first byte of a whole answer comes when the last token is made, so it is never cut before its ``max_tokens``
    could be there: a hundred short answers say nothing about the long one that follows.
    """
    configured = deadlines.first_byte or math.inf
    shape = shape_of(req, model, size)
    if req.stream:
        limit = lease.patience(STREAM, shape, 0.0, configured)
    else:
        limit = lease.patience(WHOLE, shape, req.max_tokens / SLOWEST, configured)
    if limit == configured:
        return deadlines
    return Deadlines(connect=deadlines.connect, first_byte=limit, idle=deadlines.idle, write=deadlines.write)
