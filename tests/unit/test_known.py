"""Requests that are known by their bytes: how many, how large, and for how long."""

from __future__ import annotations

from typing import Any

from actors import Exchange
from actors.cache_shelf import Shelf, ShelfCounts, ShelfLimits
from actors.testing import ManualClock
from ccproxy_sanic.caching.known import LARGEST, Known, KnownStatistics
from ccproxy_sanic.context import Caller, RequestContext
from ccproxy_sanic.pipeline.keeping import Answer

HEAD, BODY = b"POST /v1/messages HTTP/1.1\r\nx-api-key: k\r\n", b'{"a":1}'


def event_of(ctx: RequestContext) -> Exchange:
    return Exchange(ctx.request_id, ctx.path, ctx.caller.name, 200, "ok", queue_s=ctx.queue_s, bytes_out=ctx.bytes_out)


class House:
    def __init__(self, most: int = 3) -> None:
        self.clock = ManualClock(100.0)
        self.shelf = Shelf(ShelfLimits(ttl=60.0), ShelfCounts())
        self.known = Known(most, self.clock, self.clock, event_of)

    def note(self, head: bytes = HEAD, body: bytes = BODY, key: bytes = b"k") -> None:
        """A request that was answered with what is kept."""
        self.shelf.put(key, Answer(b'{"id":"msg_1"}', "m/100%"), 14, self.clock())
        ctx = RequestContext("req_first", "/v1/messages", 90.0, 90.0, Caller("ann", "token:ann"), queue_s=1.0)
        ctx.cache, ctx.upstream_model, ctx.notes = "hit", "m/100%", "code=path"
        ctx.kept = self.shelf.find(key, self.clock())
        self.known.note(head, body, ctx)

    def find(self, head: bytes = HEAD, body: bytes = BODY) -> Any:
        return self.known.find(head, body)


def test_the_same_bytes_get_the_answer_with_an_id_a_time_and_an_age_of_their_own() -> None:
    house = House()
    house.note()
    house.clock.advance(7.0)
    event, ready = house.find()
    assert (event.caller, event.queue_s, event.bytes_out) == ("ann", 0.0, 14)
    assert event.request_id.startswith("req_")
    assert event.request_id != "req_first"
    assert (ready.status, ready.body) == (200, b'{"id":"msg_1"}')
    assert b"x-ccproxy-cache: hit; age=7\r\n" in ready.lines
    assert b"x-upstream-model: m/100%\r\nx-ccproxy-adjustments: code=path\r\n" in ready.lines
    again, _ = house.find()
    assert again.request_id != event.request_id


def test_one_byte_more_in_head_or_body_is_another_request() -> None:
    house = House()
    house.note()
    assert house.find(HEAD + b"x: y\r\n") is None
    assert house.find(body=BODY + b" ") is None
    assert house.find() is not None
    assert house.known.statistics() == KnownStatistics(requests=1, most=3, asked=3, hits=1)


def test_it_is_forgotten_with_what_is_kept() -> None:
    house = House()
    house.note()
    house.clock.advance(60.0)
    assert house.find() is None
    assert house.known.statistics().requests == 0


def test_every_hit_is_a_use_of_what_is_kept() -> None:
    house = House()
    house.note()
    for _ in range(3):
        house.find()
    assert house.shelf.popular(uses=4, most=1) != []
    assert house.shelf.counts.hits == 4


def test_above_the_limit_the_first_noted_is_forgotten() -> None:
    house = House(most=2)
    for number in range(3):
        house.note(body=BODY + b" " * number, key=bytes([number]))
    assert house.find() is None
    assert house.find(body=BODY + b" ") is not None
    assert house.find(body=BODY + b"  ") is not None


def test_noted_again_it_is_one_request() -> None:
    house = House()
    for _ in range(3):
        house.note()
    assert house.known.statistics().requests == 1


def test_large_ones_and_those_that_were_no_hit_are_not_noted() -> None:
    house = House()
    house.note(body=b"x" * LARGEST)
    house.known.note(HEAD, BODY, RequestContext("", "", 0.0, 0.0, Caller("", "")))
    assert house.known.statistics().requests == 0


def test_with_no_room_at_all_nothing_is_noted() -> None:
    house = House(most=0)
    house.note()
    assert house.find() is None


def test_clearing_forgets_all() -> None:
    house = House()
    house.note()
    house.find()
    house.known.clear()
    assert house.find() is None
    assert house.known.statistics() == KnownStatistics(requests=0, most=3, asked=0, hits=0)
