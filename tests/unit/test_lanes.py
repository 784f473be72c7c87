"""What requests have found out is used by those that follow, as long as it holds: plans, lanes, heads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import httpx
import msgspec
import pytest

from actors import Endpoint
from ccproxy_sanic.context import Caller, RequestContext
from ccproxy_sanic.pipeline import house as houses
from ccproxy_sanic.pipeline.dialects import Call, lane_of, prepare
from ccproxy_sanic.pipeline.house import House, Upstreams
from ccproxy_sanic.pipeline.way import HEADS_KEPT, Way
from ccproxy_sanic.pipeline.work import Work, begin
from ccproxy_sanic.profiles import builtin
from ccproxy_sanic.routing import ModelMap, Rule, Target, routing_of
from ccproxy_sanic.upstream import Deadlines, Exchange, Head
from ccproxy_sanic.upstream.target import Target as Upstream
from ccproxy_sanic.wire.anthropic import decode_request
from tests.actors.provider_support import Desk

GENERIC = builtin("generic")
BODY: dict[str, Any] = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


class Engine:
    """Answers 200 to everything, and remembers the heads that came."""

    def __init__(self) -> None:
        self.heads: list[Head] = []

    async def send(self, head: Head, body: bytes, deadlines: Deadlines, closer: object) -> Any:
        self.heads.append(head)
        return SimpleNamespace(status=200, headers=[], complete=True, abort=lambda: None)


class Scene:
    """A house whose upstreams ``a`` and ``b`` may be asked, without actors."""

    def __init__(self, *rules: Rule, **target: Any) -> None:
        self.engine, self.desk, self.drawn = Engine(), Desk(Endpoint("a", keys=2), Endpoint("b")), 0
        self.profile = GENERIC
        made = [
            Upstream(
                name,
                f"https://{name}/v1",
                transport=cast(Any, self.engine),
                hop="h",
                deadlines=Deadlines(),
                keys=("one", "two"),
                **target,
            )
            for name in "ab"
        ]
        routing = routing_of(rules, ModelMap("big", "small"), None if rules else "a")
        self.upstreams = Upstreams(routing, {one.name: one for one in made})
        fields: dict[str, Any] = dict.fromkeys(House.__struct_fields__)
        self.house = House(
            **fields
            | {
                "upstreams": self.upstreams,
                "profile_of": lambda target, model: self.profile,
                "provider": self,
                "timer": lambda: 0.0,
                "chance": self.draw,
                "carrier_key": b"k",
            }
        )

    def draw(self) -> float:
        self.drawn += 1
        return self.drawn % 7 / 7

    async def ask(self, query: Any, deadline: float) -> Any:
        return self.desk.open(*query.endpoints, spent=query.spent).value

    def work(self, headers: dict[str, str] | None = None, onward: dict[Head, Head] | None = None, **said: Any) -> Work:
        raw = msgspec.json.encode(BODY | said)
        return begin(self.house, self.context(), decode_request(raw), raw, headers or {}, "", onward=onward)

    def context(self) -> RequestContext:
        return RequestContext("req_12", "/", 0.0, 0.0, Caller("ann", "key"), client_model="claude-x")

    def call(self, work: Work) -> Call:
        return prepare(self.house, self.context(), work, work.plan.steps[0])

    async def sent(self, work: Work, key: int = 0) -> bytes:
        """The head that a hop sends with this key."""

        async def use(way: Way, call: Call, exchange: Exchange) -> None:
            return None

        way = Way(self.house, self.context(), work)
        way._spent = frozenset({("a", 1 - key)})
        await way.hop(use)
        return self.engine.heads[-1].lines


def to(name: str, *groups: tuple[Target, ...], **conditions: Any) -> Rule:
    return Rule(name=name, groups=groups, **conditions)


def test_a_plan_is_made_once_for_a_model() -> None:
    scene = Scene()
    assert scene.work().plan is scene.work().plan
    assert scene.work(model="claude-haiku-x").plan.steps[0].model == "small"
    assert scene.work(model="other").plan.steps[0].model == "other"


def test_a_plan_follows_the_rule_that_decides_now() -> None:
    scene = Scene(to("long", (Target("b", "m"),), over_tokens=100), to("rest", (Target("a", "m"),)))
    short, long = scene.work(), scene.work(messages=[{"role": "user", "content": "Hi " * 1_000}])
    assert (short.plan.rule, long.plan.rule) == ("rest", "long")
    assert scene.work().plan is short.plan


def test_what_is_balanced_is_drawn_anew_for_each_request() -> None:
    scene = Scene(to("both", (Target("a", "m", 1.0), Target("b", "m", 1.0))))
    assert {scene.work().plan.steps[0].upstream for _ in range(50)} == {"a", "b"}
    assert scene.drawn == 50


def test_the_memory_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(houses, "REMEMBERED", 3)
    scene = Scene()
    for number in range(10):
        scene.call(scene.work(model=f"m{number}"))
        assert 1 <= len(scene.upstreams.plans) == len(scene.upstreams.lanes) <= 3
    before = {*scene.upstreams.plans}, {*scene.upstreams.lanes}
    scene.call(scene.work(model="x" * 1_000))
    assert before == ({*scene.upstreams.plans}, {*scene.upstreams.lanes})


def test_a_lane_ends_with_its_profile() -> None:
    scene = Scene()
    work = scene.work()
    first = scene.call(work).lane
    assert scene.call(work).lane is first
    scene.profile = builtin("openrouter")
    second = scene.call(work).lane
    assert second is not first
    assert second.profile is scene.profile
    assert lane_of(scene.house, scene.upstreams, work.plan.steps[0]) is second


def test_switches_are_for_one_call_only() -> None:
    scene = Scene()
    work = scene.work()
    switched = prepare(scene.house, scene.context(), work, work.plan.steps[0], {"api": "responses"})
    assert (switched.lane.api, scene.call(work).lane.api) == ("responses", "chat")


@pytest.mark.parametrize("switch", ["think_tags", "lenient_eof"])
def test_the_answers_translation_is_told_what_the_request_says(switch: str) -> None:
    scene = Scene()
    scene.profile = msgspec.structs.replace(
        GENERIC, **dict.fromkeys(("think_tags", "lenient_eof"), False) | {switch: True}, max_stops=1
    )
    name = "n" * 70
    history = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"}]},
    ]
    tool = {"name": name, "input_schema": {"type": "object"}}
    call = scene.call(scene.work(messages=history, tools=[tool], stop_sequences=["A", "B"]))
    spec = {field: getattr(call.spec, field) for field in call.spec.__struct_fields__}
    new_tool_id, sign, tools, names = (spec.pop(field) for field in ("new_tool_id", "sign", "tools", "names"))
    assert new_tool_id().startswith("toolu_")
    assert sign("plain", "").startswith("ppx1.")
    assert names == dict.fromkeys(tools, name)
    assert spec == {
        "message_id": "msg_12",
        "model": "claude-x",
        "request_id": "req_12",
        "used_tool_ids": {"toolu_1"},
        "stop_sequences": ("A", "B"),
        "enforce_stops": ("B",),
        "thinking": "show",
        "think_tags": switch == "think_tags",
        "opened": False,
        "lenient_eof": switch == "lenient_eof",
    }


async def test_a_clients_headers_are_written_once_for_each_key_and_upstream() -> None:
    scene = Scene(api="messages")
    headers = {"user-agent": "me", "anthropic-version": "2023-06-01", "x-api-key": "the client's"}
    known: dict[Head, Head] = {}
    first = await scene.sent(scene.work(headers, known))
    assert await scene.sent(scene.work(headers, known)) == first == await scene.sent(scene.work(headers))
    assert scene.engine.heads[0] is scene.engine.heads[1]
    assert b"user-agent: me\r\n" in first
    assert b"client's" not in first
    other = await scene.sent(scene.work(headers, known), key=1)
    assert (b"Bearer one" in first, b"Bearer two" in other) == (True, True)
    assert await scene.sent(scene.work({"user-agent": "you"}, {})) != first


async def test_of_a_clients_headers_few_heads_are_kept() -> None:
    scene = Scene(api="messages")
    known: dict[Head, Head] = {}
    for number in range(3 * HEADS_KEPT):
        work = scene.work({}, known)
        work.query = f"n={number}"
        await scene.sent(work)
        assert len(known) <= HEADS_KEPT
    assert httpx.URL(scene.engine.heads[-1].url).query == b"n=23"
