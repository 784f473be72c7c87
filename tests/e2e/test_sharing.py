"""Which equal requests are one upstream call, and which are samples of their own."""

from __future__ import annotations

import asyncio

import httpx

from tests.support.poison import Poison
from tests.support.proxy import message, serving
from tests.support.upstream import Received, Reply, ScriptedUpstream, reply_json

SESSION = {"x-claude-code-session-id": "0a1b2c3d"}
SHARE = {"x-ccproxy-share": "on"}


class Counting:
    """Every answer has its number in it; all wait for the gate."""

    def __init__(self, failing: int = 0) -> None:
        self.gate = asyncio.Event()
        self.asked = 0
        self.failing = failing

    def __call__(self, _: Received) -> Reply:
        self.asked += 1
        if self.asked <= self.failing:
            return [self.gate, *reply_json({"error": {"message": "down"}}, 500)]
        text = {"role": "assistant", "content": str(self.asked)}
        return [self.gate, *reply_json({"choices": [{"index": 0, "message": text, "finish_reason": "stop"}]})]


async def ask_twice(
    first: dict[str, str],
    second: dict[str, str],
    script: Counting,
    wait_for: int,
    /,
    *,
    tokens: str = "",
    **body: object,
) -> tuple[list[httpx.Response], int]:
    """Two equal requests at the same time; the answers, and how often the upstream was asked."""
    settings = {"PROVIDER_MAX_RETRIES": "0"} | ({"CCPROXY_AUTH_TOKENS": tokens} if tokens else {})
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url, **settings) as proxy:
        asking = [asyncio.ensure_future(proxy.post(message(**body), headers=headers)) for headers in (first, second)]
        await upstream.until(open=wait_for)
        while len(proxy.runtime.active) < 2 or proxy.runtime.supervisor.refs[1].depth:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        script.gate.set()
        return list(await asyncio.gather(*asking)), script.asked


async def test_equal_requests_are_separate_samples() -> None:
    answers, asked = await ask_twice({}, {}, Counting(), 2)
    assert asked == 2
    assert {answer.json()["content"][0]["text"] for answer in answers} == {"1", "2"}


async def test_a_resend_of_the_same_session_joins() -> None:
    answers, asked = await ask_twice(SESSION, SESSION, Counting(), 1)
    assert asked == 1
    assert [answer.json()["content"][0]["text"] for answer in answers] == ["1", "1"]
    assert sorted(answer.headers.get("x-ccproxy-shared", "") for answer in answers) == ["", "true"]
    assert answers[0].headers["request-id"] != answers[1].headers["request-id"]


async def test_another_session_does_not_join() -> None:
    _, asked = await ask_twice(SESSION, {"x-claude-code-session-id": "other"}, Counting(), 2)
    assert asked == 2


async def test_who_asks_to_share_shares() -> None:
    _, asked = await ask_twice(SHARE, SHARE, Counting(), 1)
    assert asked == 1


async def test_what_is_deterministic_is_shared_unless_the_client_says_no() -> None:
    _, asked = await ask_twice({}, {}, Counting(), 1, temperature=0)
    assert asked == 1
    off = {"x-ccproxy-share": "off"}
    _, asked = await ask_twice(off, off, Counting(), 2, temperature=0)
    assert asked == 2


async def test_an_answer_never_crosses_from_one_caller_to_another() -> None:
    tokens = "ann:token-of-ann-1234,bob:token-of-bob-1234"
    ann, bob = ({"x-api-key": f"token-of-{name}-1234", **SHARE} for name in ("ann", "bob"))
    _, asked = await ask_twice(ann, bob, Counting(), 2, tokens=tokens)
    assert asked == 2
    _, asked = await ask_twice(ann, ann, Counting(), 1, tokens=tokens)
    assert asked == 1


async def test_when_the_first_fails_the_next_one_asks_itself() -> None:
    answers, asked = await ask_twice(SHARE, SHARE, Counting(failing=1), 1)
    assert asked == 2
    assert sorted(answer.status_code for answer in answers) == [200, 500]


async def test_when_the_first_leaves_the_next_one_asks_itself() -> None:
    script = Counting()
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url) as proxy:
        first = asyncio.ensure_future(proxy.post(headers=SHARE))
        await upstream.until(open=1)
        second = asyncio.ensure_future(proxy.post(headers=SHARE))
        while len(proxy.runtime.active) < 2:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        first.cancel()
        await upstream.until(aborted=1)
        script.gate.set()
        assert (await second).json()["content"][0]["text"] == "2"
        assert script.asked == 2


async def test_a_crash_of_the_cache_actor_costs_nobody_an_answer() -> None:
    script = Counting()
    async with ScriptedUpstream(script) as upstream, serving(upstream.base_url) as proxy:
        cache = proxy.runtime.house.cache
        asking = [asyncio.ensure_future(proxy.post(headers=SHARE)) for _ in range(3)]
        await upstream.until(open=1)
        while len(proxy.runtime.active) < 3 or cache.waiting < 2:
            await asyncio.sleep(0.005)
        cache.tell(None)  # nothing an actor knows
        cache.tell(Poison(), urgent=True)
        while not cache.stats.crashes:
            await asyncio.sleep(0.005)
        script.gate.set()
        answers = await asyncio.gather(*asking)
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert script.asked == 1
