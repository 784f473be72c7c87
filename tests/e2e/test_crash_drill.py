"""Any actor may crash at any moment under load: no request fails but the one whose own message crashed it.

Rule: the load is 500 mixed requests; what each of them may end as is known before it is sent.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from actors import CacheActor, MetricsActor, ProviderActor, Query, RateLimiterActor
from tests.support.proxy import Proxy, events, message, serving
from tests.support.upstream import DONE, Received, Reply, ScriptedUpstream, delta, reply_json, sse

ACTORS = {
    "limiter": RateLimiterActor,
    "cache": CacheActor,
    "provider": ProviderActor,
    "metrics": MetricsActor,
}
VITAL = ("limiter", "provider")  # whose answer a request needs
REQUESTS = 500
AT_ONCE = 16
EVERY = 0.05  # seconds
WHOLE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}]}
REFUSED = {"error": {"message": "temperature is out of range", "type": "invalid_request_error", "param": "x"}}
SESSION = {"x-claude-code-session-id": "0a1b2c3d"}


def answer(received: Received) -> Reply:
    body = received.json()
    if "refuse" in str(body["messages"]):
        return reply_json(REFUSED, 400)
    if body.get("stream"):
        return sse(delta(role="assistant"), delta(content="str"), 0.01, delta(content="eam"), delta("stop"), DONE)
    return [0.005, *reply_json(WHOLE)]


def mixed(number: int) -> tuple[dict[str, Any], dict[str, str], int]:
    """The number-th request: its body, its headers, the status it has to end with."""
    text = f"request {number}"
    match number % 5:
        case 0:
            return message(messages=[{"role": "user", "content": text}]), {}, 200
        case 1:
            return message(messages=[{"role": "user", "content": text}], stream=True), {}, 200
        case 2:  # deterministic: looked up, stored, shared
            return message(messages=[{"role": "user", "content": f"equal {number % 3}"}], temperature=0), {}, 200
        case 3:  # a resend of a running stream
            return message(messages=[{"role": "user", "content": f"again {number // 20}"}], stream=True), SESSION, 200
        case _:
            return message(messages=[{"role": "user", "content": f"refuse {text}"}]), {}, 400


async def asked(proxy: Proxy, number: int) -> tuple[int, bool]:
    """Ask the number-th request; its status, and whether it ended as it has to."""
    body, headers, expected = mixed(number)
    response = await proxy.post(body, headers=headers)
    if response.status_code != expected:
        return response.status_code, False
    if not body.get("stream"):
        return expected, expected != 200 or response.json()["content"][0]["text"] == "whole"
    said = events(response.content)
    return expected, [name for name, _ in said].count("message_start") == 1 and said[-1][0] == "message_stop"


async def load(proxy: Proxy) -> list[tuple[int, bool]]:
    numbers = iter(range(REQUESTS))
    ends: list[tuple[int, bool]] = []

    async def one_after_the_other() -> None:
        ends.extend([await asked(proxy, number) for number in numbers])

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    return ends


class Saboteur:
    """Makes the next message that each actor takes crash it, every 50 ms; ``felled`` counts questions among them."""

    def __init__(self) -> None:
        self.due: dict[str, bool] = dict.fromkeys(ACTORS, False)
        self.crashes: Counter[str] = Counter()
        self.felled: Counter[str] = Counter()
        self.task: asyncio.Task[None] | None = None

    def wrap(self, name: str, handle: Any) -> Any:
        def crashing(actor: Any, message: Any, reply: Any) -> None:
            if self.due[name]:
                self.due[name] = False
                self.crashes[name] += 1
                self.felled[name] += isinstance(message, Query)
                raise RuntimeError("sabotage")
            handle(actor, message, reply)

        return crashing

    async def work(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            self.due = dict.fromkeys(ACTORS, True)


@pytest.fixture
def saboteur(monkeypatch: pytest.MonkeyPatch) -> Saboteur:
    one = Saboteur()
    for name, actor in ACTORS.items():
        monkeypatch.setattr(actor, "handle", one.wrap(name, actor.handle))
    return one


async def test_500_mixed_requests_while_every_actor_crashes_every_50_ms(saboteur: Saboteur) -> None:
    async with ScriptedUpstream(answer) as upstream:
        async with serving(upstream.base_url, CCPROXY_UPSTREAM_SLOTS="8", CCPROXY_MAX_CONCURRENT="64") as proxy:
            proxy.runtime.supervisor.intensity = float("inf")
            sabotage = asyncio.ensure_future(saboteur.work())
            try:
                ends = await load(proxy)
            finally:
                sabotage.cancel()
                saboteur.due = dict.fromkeys(ACTORS, False)
            assert len(ends) == REQUESTS
            assert all(saboteur.crashes[name] for name in ACTORS)
            wrong = Counter(status for status, right in ends if not right)
            # Each of them is the asker of a question that felled the limiter or the provider; nobody else failed.
            assert set(wrong) <= {500}
            assert wrong[500] == sum(saboteur.felled[name] for name in VITAL)
            assert (await proxy.post()).status_code == 200
            stats = {ref.name: ref.stats for ref in proxy.runtime.supervisor.refs}
            assert {name: stats[name].crashes for name in ACTORS} == dict(saboteur.crashes)


@pytest.mark.parametrize("name", ["cache", "metrics"])
async def test_a_crash_of_cache_or_metrics_fails_no_request_at_all(name: str, saboteur: Saboteur) -> None:
    async with ScriptedUpstream(answer) as upstream, serving(upstream.base_url) as proxy:
        proxy.runtime.supervisor.intensity = float("inf")
        rng = random.Random(7)

        async def sabotage() -> None:
            while True:
                await asyncio.sleep(rng.random() * EVERY / 5)
                saboteur.due[name] = True

        working = asyncio.ensure_future(sabotage())
        try:
            ends = await load(proxy)
        finally:
            working.cancel()
            saboteur.due[name] = False
        assert saboteur.crashes[name] > 10
        assert [end for end in ends if not end[1]] == []


async def test_at_the_normal_intensity_it_escalates(saboteur: Saboteur) -> None:
    """More than five crashes in 30 s: unready, refused with 529, and the process is told to end with 1."""
    fatal = asyncio.Event()
    async with ScriptedUpstream(answer) as upstream, serving(upstream.base_url) as proxy:
        proxy.runtime.on_fatal = fatal.set
        codes: list[int] = []
        for number in range(40):
            saboteur.due["limiter"] = True
            codes.append((await proxy.post(mixed(number * 5)[0])).status_code)
            if fatal.is_set():
                break
        assert proxy.runtime.fatal
        assert saboteur.crashes["limiter"] == 6
        assert set(codes) <= {200, 500, 529}
        assert (await proxy.client.get("/ready")).status_code == 503
        refused = await proxy.post()
        assert (refused.status_code, refused.json()["error"]["type"]) == (529, "overloaded_error")
