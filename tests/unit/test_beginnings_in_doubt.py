"""What follows a known beginning and is at the edge of what can be read: it fares as if nothing was known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.translate.passthrough_body import body_for
from ccproxy_sanic.wire.anthropic import decode_request
from tests.support.conversations import raw, turns
from tests.support.forgetting import forget

LONG_TURN = 20_000
LAST = b'"content":"5 \\\\ \xc3\xa9' + b"x" * LONG_TURN + b'"}]}]'  # of the messages
DEPTHS = range(800, 1100)  # somewhere among them the stack ends


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    forget()
    yield
    forget()


def refusal(body: bytes) -> str | None:
    try:
        decode_request(body)
    except InvalidRequest as refused:
        return refused.message
    return None


@pytest.mark.parametrize(("order", "field"), [("claude-code", b"max_tokens"), ("sdk", b"model")])
def test_null_for_a_field_that_the_known_end_says_again_is_refused(order: str, field: bytes) -> None:
    # 1e999 keeps the body from being read loosely, which would take the null
    plain = raw(turns(6, size=LONG_TURN), order, system=None, stream=True).replace(b'"at":0}', b'"at":1e999}')
    at = plain.index(LAST) + len(LAST)
    odd = plain[:at] + b',"%b":null' % field + plain[at:]
    cold = refusal(odd)
    assert cold is not None
    assert "Input should be a valid" in cold
    forget()
    for _ in range(3):
        assert refusal(plain) is None
    assert decode_request(plain).beginning is not None
    assert refusal(odd) == cold


def test_what_is_nested_as_deep_as_can_be_read_is_never_more_than_refused() -> None:
    plain = raw(turns(6, size=LONG_TURN), "claude-code", extra=0)
    for depth in DEPTHS:
        body = plain.replace(b'"extra":0', b'"extra":' + b"[" * depth + b"]" * depth)
        forget()
        if [refusal(body) for _ in range(3)].count(None) == 0:  # the second look takes more of the stack
            return
    pytest.fail("no depth was refused")


def test_what_is_nested_too_deeply_behind_a_known_beginning_is_refused() -> None:
    plain = raw(turns(6, size=LONG_TURN), "last")
    for _ in range(3):
        body_for(plain, "up", beginning=decode_request(plain).beginning)
    refused = 0
    for depth in DEPTHS:
        body = plain[:-2] + b'],"extra":%b%b}' % (b"[" * depth, b"]" * depth)
        try:
            beginning = decode_request(body).beginning
        except InvalidRequest:
            break
        refused += _refused(body, beginning, frames=20)
    assert refused


def _refused(body: bytes, beginning: Any, frames: int) -> bool:
    """Whether it is, with so many frames more on the stack than where it was decoded."""
    if frames:
        return _refused(body, beginning, frames - 1)
    try:
        body_for(body, "up", beginning=beginning)
    except InvalidRequest:
        return True
    return False
