"""A head that was let in before is not read again, and nobody can tell.

Rule: each test says how often the head was known, so that none passes because nothing is remembered any more.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ccproxy_sanic.front import heads
from ccproxy_sanic.handlers import everybody, messages
from ccproxy_sanic.handlers import serving as serving_module
from tests.support.collector import Collector
from tests.support.proxy import HELLO, Proxy, message, serving
from tests.support.twins import BODY, LAST, counting, cut, post, say, settled, statuses, twins
from tests.support.upstream import ScriptedUpstream, reply_json

PAGE = b"Origin: https://page.example"
STREAM = json.dumps(message(stream=True)).encode()
TOKENS = {"CCPROXY_AUTH_TOKENS": "ann:token-of-ann-1234,bob:token-of-bob-1234"}
ANN, BOB, EVE = (b"x-api-key: token-of-%b-1234" % name for name in (b"ann", b"bob", b"eve"))


def sized(length: int) -> bytes:
    """A request with a head of so many bytes."""
    bare = len(post(b"", b"X-A: ", length=b"Content-Length: %d" % len(BODY))) - len(b"\r\n\r\n")
    return post(BODY, b"X-A: " + b"a" * (length - bare))


# what is said -> whether its head is remembered, and the status it gets
ASKED: dict[str, tuple[bytes, bool, int]] = {
    "plain": (post(), True, 200),
    "lower case": (post(length=b"content-length: %d" % len(BODY)), True, 200),
    "other case": (post(length=b"CONTENT-LENGTH: %d" % len(BODY)), False, 200),
    "no space": (post(length=b"Content-Length:%d" % len(BODY)), False, 200),
    "two spaces": (post(length=b"Content-Length:  %d" % len(BODY)), False, 200),
    "space behind": (post(length=b"Content-Length: %d " % len(BODY)), False, 400),
    "leading zeros": (post(length=b"Content-Length: %012d" % len(BODY)), True, 200),
    "more digits than a length has": (post(length=b"Content-Length: %013d" % len(BODY)), False, 200),
    "signed": (post(length=b"Content-Length: +5"), False, 400),
    "negative": (post(length=b"Content-Length: -5"), False, 400),
    "underscore": (post(length=b"Content-Length: 1_0"), False, 400),
    "unicode": (post(length="Content-Length: ١".encode()), False, 400),
    "empty": (post(length=b"Content-Length: "), False, 400),
    "length first": (post(BODY, b"Content-Length: %d" % len(BODY), length=b"X-A: b"), True, 200),
    "a length in a name": (post(BODY, b"X-Content-Length: 3"), True, 200),
    "a length in a value": (post(BODY, b"X-A: content-length: 3"), True, 200),
    "a second length": (post(BODY, b"content-length: %d" % len(BODY)), False, 400),
    "a second length, empty": (post(BODY, b"content-length: "), False, 400),
    "a folded length": (post(BODY, b"X-A: b", b" content-length: 3"), False, 400),
    "a stream": (post(STREAM), True, 200),
    "no JSON": (post(b"{"), True, 400),
    "no body": (post(b""), True, 400),
    "a query": (post(path=b"/v1/messages?beta=true&a=%20"), True, 200),
    "a path twice": (post(path=b"/v1/v1/messages"), True, 200),
    "a whole URL": (post(path=b"http://localhost/v1/messages"), True, 200),
    "a URL without a path": (post(path=b"http://localhost"), False, 400),
    "no URL": (post(path=b"localhost:80"), False, 400),
    "count_tokens": (post(path=b"/v1/messages/count_tokens"), True, 200),
    "clear": (post(b"", path=b"/v1/cache/clear"), True, 200),
    "GET": (post(b"", method=b"GET", path=b"/health"), True, 200),
    "GET with a body": (post(b"abc", method=b"GET", path=b"/v1/models"), True, 200),
    "HEAD": (post(b"", method=b"HEAD", path=b"/health"), False, 200),
    "HEAD with a body": (post(b"abc", method=b"HEAD", path=b"/"), False, 200),
    "OPTIONS": (post(b"", PAGE, b"Access-Control-Request-Method: POST", method=b"OPTIONS"), True, 200),
    "a path with a part": (post(b"", method=b"GET", path=b"/v1/models/x"), False, 200),
    "no such path": (post(path=b"/nothing"), False, 404),
    "no such method": (post(method=b"GET"), False, 405),
    "HTTP/1.0": (post(version=b"1.0"), True, 200),
    "HTTP/1.0, kept": (post(BODY, b"Connection: keep-alive", version=b"1.0"), True, 200),
    "closing": (post(BODY, b"Connection: close"), True, 200),
    "upgrading": (post(BODY, b"Connection: keep-alive, Upgrade", b"Upgrade: websocket"), False, 200),
    "expecting": (post(BODY, b"Expect: 100-continue"), False, 100),
    "expecting else": (post(BODY, b"Expect: more"), False, 417),
    "a welcome page": (post(BODY, PAGE), True, 200),
    "a page": (post(BODY, b"Origin: https://evil.example"), True, 403),
    "a wish": (post(BODY, b"x-ccproxy-share: off", b"x-ccproxy-cache: refresh"), True, 200),
    "a bad wish": (post(BODY, b"x-ccproxy-cache: never"), True, 400),
    "as large as one is remembered": (sized(heads.LARGEST), True, 200),
    "larger": (sized(heads.LARGEST + 1), False, 200),
    "chunks": (
        post(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY), length=b"Transfer-Encoding: chunked"), False, 200
    ),
}  # fmt: skip


async def test_it_is_answered_as_when_it_was_unknown() -> None:
    async with twins(ENABLE_CORS="1", CORS_ALLOW_ORIGINS="https://page.example") as both:
        for name, (said, remembered, status) in ASKED.items():
            both.heads.forget()
            first = await both.ask(said + LAST)
            assert (name, statuses(first)[0], both.heads.hits) == (name, status, 0)
            assert (name, await both.ask(said + LAST)) == (name, first)
            assert (name, both.heads.hits) == (name, int(remembered))
            await both.ask(said, said, LAST)
            await both.ask(said + said + LAST)
            await both.ask(said + LAST, after=[post()] * 2)


async def test_it_may_be_cut_anywhere() -> None:
    said = post(b'{"a": 1}') + post(b"", path=b"/v1/cache/clear") + LAST
    async with counting() as (proxy, known):
        whole = settled(await say(proxy, said))
        assert statuses(whole) == [400, 200, 200]
        for at in range(1, len(said)):
            assert settled(await say(proxy, *cut(said, at))) == whole
        assert settled(await say(proxy, *cut(said, *range(len(said))))) == whole
        assert known.hits > len(said)


async def test_what_comes_next_on_a_connection_may_be_in_pieces_too() -> None:
    large = BODY[:-1] + b" " * 100_000 + b"}"
    async with twins() as both:
        for said in (post(), post(large), post(b"{"), post() + post(large), post(large) + post()):
            for at in (0, 1, 60, len(post()) - len(BODY), len(post()) - 1, len(said) - 1):
                answer = await both.ask(*cut(said, at), LAST, after=[post(), post(), post(large)])
                assert set(statuses(answer)) <= {200, 400}
        assert both.heads.hits > 100


async def test_what_is_left_of_a_body_that_was_answered_before_it_came_is_no_request() -> None:
    begun, rest = cut(post(path=b"/nothing"), len(post(path=b"/nothing")) - 10)
    async with twins() as both:
        assert statuses(await both.ask(rest + LAST, after=[begun])) == [404, 200]
        assert statuses(await both.ask(rest, LAST, after=[post(), post(), begun])) == [200, 200, 404, 200]


async def test_what_follows_in_the_same_write_is_a_request_of_its_own() -> None:
    known, new = post(), post(BODY, b"X-A: b")
    async with twins() as both:
        await both.ask(known + LAST)
        for said, expected in (
            (known + known, [200, 200, 200]),
            (known + new, [200, 200, 200]),
            (new + known + post(b"{") + known, [200, 200, 400, 200, 200]),
            (known + b"hello\r\n\r\n", [200, 400]),
            (known + b"\r\n", [200, 400]),
            (known + post(length=b"Content-Length: %d\r\nContent-Length: 5" % len(BODY)), [200, 400]),
            (post(BODY + b"x", length=b"Content-Length: %d" % len(BODY)) + known, [200, 400]),
        ):
            assert statuses(await both.ask(said + LAST)) == expected
        assert both.heads.hits == 11


async def test_a_request_in_pieces_does_not_make_another_one_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads.Heads.__init__, "__defaults__", (2,))
    one, two, three = (post(BODY, b"X-A: %d" % number) for number in (1, 2, 3))
    async with counting() as (proxy, known):
        for pieces in ((one, two), cut(two, 20), cut(two, 20), (one, two), (three,), (two,), (one,)):
            assert set(statuses(await say(proxy, *pieces, LAST))) == {200}
        assert known.hits == 3


async def test_two_callers_are_never_taken_for_each_other(tmp_path: Path) -> None:
    environ = TOKENS | {"ERROR_TRACKING_FILE": str(tmp_path / "errors")}
    async with counting(**environ) as (proxy, known):
        asked = [(ANN, b"one"), (BOB, b"one"), (ANN, b"two"), (BOB, b"two")] * 2
        for token, session in (*asked, *reversed(asked)):
            lines = (token, b"x-claude-code-session-id: " + session, b"x-app: cli")
            assert statuses(await say(proxy, post(b"{", *lines) + LAST)) == [400, 200]
        assert known.hits == 12
        assert proxy.runtime.log_writer.stop()
    told = [json.loads(line)["metadata"] for line in (tmp_path / "errors").read_text().splitlines()]
    names = {ANN: "ann", BOB: "bob"}
    expected = [(names[token], session.decode()) for token, session in (*asked, *reversed(asked))]
    assert [(record["caller"], record["session"]) for record in told] == expected


async def test_a_wrong_token_stays_wrong() -> None:
    async with twins(**TOKENS) as both:
        for tokens in ([EVE] * 3, [ANN, EVE, ANN, EVE, EVE], [EVE, BOB]):
            answer = await both.ask(b"".join(post(BODY, token) for token in tokens) + LAST)
            assert statuses(answer) == [401 if token is EVE else 200 for token in tokens] + [200]
        assert both.heads.hits == 7


async def test_a_wish_is_of_its_own_head_only() -> None:
    on, off, bad = (post(BODY, b"x-ccproxy-cache: " + word) for word in (b"on", b"off", b"never"))
    async with twins(CCPROXY_CACHE="all") as both:
        for said in (off, off, on, on, off, bad, on, bad, bad, off):
            answer = await both.ask(said + LAST)
            assert statuses(answer)[0] == (400 if said is bad else 200)
        assert both.heads.hits == 7


async def test_a_loop_is_found_each_time() -> None:
    async with twins() as both:
        for proxy, other in ((both.knowing, both.forgetful), (both.forgetful, both.knowing)):
            said = post(BODY, b"x-ccproxy-hop: " + proxy.runtime.hop.encode()) + LAST
            for _ in range(3):
                assert statuses(await say(proxy, said)) == [508, 200]
                assert statuses(await say(other, said)) == [200, 200]
        assert both.heads.hits == 4


async def test_a_proxy_that_ends_takes_no_more() -> None:
    async with twins(CCPROXY_CACHE="all") as both:
        for draining, expected in ((False, 200), (True, 529), (False, 200)):
            both.knowing.runtime.draining = both.forgetful.runtime.draining = draining
            assert statuses(await both.ask(post() + LAST))[0] == expected
        assert both.heads.hits == 2


@pytest.mark.parametrize("place", ["in the work", "in the handler"])
async def test_a_bug_is_answered_and_the_next_request_served(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("words nobody may read")

    said = post() if place == "in the work" else post(b"", path=b"/v1/cache/clear")
    async with twins() as both:
        await both.ask(said + LAST)
        with monkeypatch.context() as patch:
            patch.setattr(messages.anthropic, "decode_request", broken)
            patch.setattr(everybody, "clear", broken)
            answer = await both.ask(said + said + LAST)
            assert statuses(answer) == [500, 500, 200]
            assert b"words" not in answer
        assert statuses(await both.ask(said + LAST)) == [200, 200]
        assert both.heads.hits == 3


async def test_a_bug_behind_an_answer_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("words nobody may read")

    monkeypatch.setattr(serving_module.pipeline, "report", broken)
    async with twins() as both:
        for said in (post(), post(STREAM), post(b"{")):
            answers = await both.ask(said + said + LAST)
            assert statuses(answers) == [400 if said == post(b"{") else 200] * 2 + [200]
            assert b"words" not in answers
        assert both.heads.hits == 5


async def test_what_is_recorded_of_a_failure_is_the_same(tmp_path: Path) -> None:
    lines = (b"X-Forwarded-For: 192.0.2.7", b"User-Agent: me", b"X-A: 1", b"X-A: 2", ANN)
    said = post(b"{", *lines, path=b"/v1/messages?beta=true") + LAST
    environ = TOKENS | {"ERROR_TRACKING_FILE": str(tmp_path / "errors"), "CCPROXY_PROXIES_COUNT": "1"}
    async with counting(**environ) as (proxy, known):
        for _ in range(2):
            assert statuses(await say(proxy, said)) == [400, 200]
        assert known.hits == 1
        assert proxy.runtime.log_writer.stop()
    first, second = (json.loads(line) for line in (tmp_path / "errors").read_text().splitlines())
    assert first["request_snapshot"] == second["request_snapshot"]
    assert first["metadata"] == second["metadata"]
    assert first["request_snapshot"]["client_ip"] == "192.0.2.7"
    assert first["request_snapshot"]["headers"]["content-length"] == "1"


async def test_a_host_that_is_not_named_is_refused_each_time() -> None:
    async with twins(ALLOWED_HOSTS="localhost") as both:
        bad = post().replace(b"Host: localhost", b"Host: elsewhere")
        for said, expected in ((post(), 200), (bad, 403), (post(), 200), (bad, 403)):
            assert statuses(await both.ask(said + LAST))[0] == expected
        assert both.heads.hits == 1


async def test_what_is_said_of_https_is_believed_of_each_head() -> None:
    async with twins(ENABLE_HSTS="1", CCPROXY_PROXIES_COUNT="1") as both:
        for scheme in (b"http", b"https", b"https", b"http"):
            said = post(BODY, b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-Proto: " + scheme)
            answer = await both.ask(said + LAST)
            assert (b"strict-transport-security" in answer) == (scheme == b"https")
        assert both.heads.hits == 2


async def test_a_trace_says_the_same_of_it() -> None:
    lines = (b"User-Agent: me", b"x-claude-code-session-id: s1", b"X-Forwarded-For: 192.0.2.7")
    async with Collector() as collector:
        environ = {"TRACING_ENABLED": "1", "TRACING_ENDPOINT": collector.url, "CCPROXY_PROXIES_COUNT": "1"}
        completion = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}]}
        async with ScriptedUpstream([reply_json(completion)]) as upstream:
            async with counting(upstream.base_url, **environ) as (proxy, known):
                for _ in range(2):
                    assert statuses(await say(proxy, post(BODY, *lines) + LAST)) == [200, 200]
                assert known.hits == 1
        first, second = (dict(span.attributes) for span in collector.spans if span.kind == "server")
    assert first.pop("ccproxy.request_id") != second.pop("ccproxy.request_id")
    assert first == second
    assert first["client.address"] == "192.0.2.7"


async def test_a_client_library_is_served_on_kept_and_on_new_connections() -> None:
    async with counting() as (proxy, known):
        for number in range(3):
            assert (await proxy.post(HELLO | {"max_tokens": 64 + number})).json()["type"] == "message"
        for _ in range(2):
            async with proxy.streaming() as response:
                assert b"message_stop" in await response.aread()
        assert known.hits == 2 + 1


async def test_it_needs_no_other_proxy_to_forget() -> None:
    """Each has a memory of its own: what one lets in, another may not."""
    async with serving() as open_one, counting(**TOKENS) as (strict, _):
        one: Proxy
        for one, expected in ((open_one, 200), (strict, 401)) * 2:
            assert statuses(await say(one, post() + LAST))[0] == expected
