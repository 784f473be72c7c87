"""Which heads are remembered, and that a request made of one is the request it would have been."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

import pytest
from sanic import Request, Sanic
from sanic.compat import Header

from ccproxy_sanic.front.heads import END, LARGEST, Heads, KnownHead, cut
from ccproxy_sanic.front.requests import KnownRequest, StrictRequest, sent_headers

SECRET: Final = "token-of-ann-1234"
ROUTES: Final[dict[str, Any]] = {
    "/plain": {},
    "/ignoring": {"ignore_body": True},
    "/streaming": {"stream": True},
    "/parts/<name>": {},
}


async def nothing(request: Request, **_: str) -> None:
    pass


@pytest.fixture(scope="module")
def app() -> Iterator[Any]:
    """With a route of each sort."""
    made = Sanic("heads", configure_logging=False, request_class=StrictRequest)
    made.config.PROXIES_COUNT = 1
    for path, options in ROUTES.items():
        handler = partial(nothing)  # each its own: Sanic marks the one that reads its body itself
        made.route(path, methods=["POST", "GET", "HEAD"], name=path[1:5], **options)(handler)
    made.router.finalize()
    for route in made.router.routes:
        route.extra.request_middleware = None
    yield made
    Sanic.unregister_app(made)


def head_of(path: str = "/plain", method: str = "POST", length: bytes = b"Content-Length: 5", *lines: bytes) -> bytes:
    return b"\r\n".join([f"{method} {path} HTTP/1.1".encode(), b"Host: localhost", *lines, length])


def read(app: Any, head: bytes, **state: Any) -> Any:
    """Sanic's stream when it has read ``head``."""
    first, *lines = head.decode().split("\r\n")
    method, path, version = first.split(" ")
    pairs = [(name.lower(), value.lstrip()) for name, value in (line.split(":", 1) for line in lines)]
    peer = SimpleNamespace(get_extra_info=lambda name: ("192.0.2.9", 4711))
    info = SimpleNamespace(client_ip="192.0.2.9", client="192.0.2.9", client_port=4711, ssl=False, peername=None)
    request = StrictRequest(path.encode(), Header(pairs), version[5:], method, peer, app, head)
    request.conn_info = info  # type: ignore[assignment]
    http = SimpleNamespace(
        request=request,
        request_body=True,
        expecting_continue=False,
        upgrade_websocket=False,
        head_only=method == "HEAD",
        keep_alive=True,
        url=path,
        protocol=SimpleNamespace(app=app, transport=peer, conn_info=info),
    )
    vars(http).update(state)
    request.stream = http  # type: ignore[assignment]
    return http


@pytest.mark.parametrize(
    ("head", "parts"),
    [
        (b"a\r\ncontent-length: 12", (b"a\r\ncontent-length: ", b"12")),
        (b"a\r\nContent-Length: 12\r\nb: c", (b"a\r\nContent-Length: \r\nb: c", b"12")),
        (b"a\r\nx: content-length: 3\r\ncontent-length: 0", (b"a\r\nx: content-length: 3\r\ncontent-length: ", b"0")),
        (b"a\r\ncontent-length: 999999999999", (b"a\r\ncontent-length: ", b"999999999999")),
        (b"a\r\ncontent-length: 1000000000000", None),
        (b"a\r\ncontent-length: ", None),
        (b"a\r\ncontent-length:12", None),
        (b"a\r\ncontent-length:  12", None),
        (b"a\r\ncontent-length: 12 ", None),
        (b"a\r\ncontent-length: +12", None),
        (b"a\r\ncontent-length: -1", None),
        (b"a\r\ncontent-length: 1_2", None),
        (b"a\r\ncontent-length: \xd9\xa1", None),
        (b"a\r\ncontent-length: 1\r2", None),
        (b"a\r\ncontent-length: \r\n12", None),
        (b"a\r\nContent-length: 12", None),
        (b"a\r\nx-content-length: 12", None),
        (b"content-length: 12", None),
        (b"a\ncontent-length: 12", None),
        (b"", None),
    ],
)
def test_the_length_is_cut_out_where_it_can_only_be_that(head: bytes, parts: tuple[bytes, bytes] | None) -> None:
    found = cut(head)
    assert (None if found is None else (found[0] + found[2], found[1])) == parts


@pytest.mark.parametrize("first", [b"Content-Length: 5", b"content-length: 5"])
@pytest.mark.parametrize(
    "second", [b"Content-Length: 5", b"content-length: 5", b"content-length: ", b"CONTENT-LENGTH: 5"]
)
def test_what_has_two_lengths_is_never_taken_for_what_has_one(app: Any, first: bytes, second: bytes) -> None:
    heads = Heads(app)
    for line in (first, second):
        if cut(head_of("/plain", "POST", line)) is not None:
            heads.note(read(app, head_of("/plain", "POST", line)))
    for lines in ((first, second), (second, first)):
        assert heads.find(head_of("/plain", "POST", *lines)) is None


def test_a_known_head_comes_with_the_length_that_it_says_now(app: Any) -> None:
    heads = Heads(app)
    assert heads.find(head_of()) is None
    heads.note(read(app, head_of()))
    for length in (0, 5, 100_000):
        found = heads.find(head_of(length=b"Content-Length: %d" % length))
        assert found is not None
        assert found[1] == length
    for other in (
        head_of("/plain?a=b"),
        head_of("/PLAIN"),
        head_of("/plain", "GET"),
        head_of("/plain", "POST", b"content-length: 5"),
        head_of("/plain", "POST", b"Content-Length: 5", b"X-A: b"),
        head_of() + b"\r\n",
        head_of() + b"\r\nX-A: b",
    ):
        assert heads.find(other) is None


# what may come into a head, or in the place of a byte of it
WEDGES: Final = (b"", b"\r", b"\n", b"\r\n", END, b" ", b":", b"0", b"9", b"-", b"_", b"\xd9\xa1", b"1" * 12, b"x")


@pytest.mark.parametrize("length", [b"Content-Length: 5", b"Content-Length: 5\r\nX-A: b"])
def test_what_begins_with_a_head_is_what_would_be_found_by_it(app: Any, length: bytes) -> None:
    heads = Heads(app)
    heads.note(read(app, head_of(length=length)))
    found = heads.find(head_of(length=length))
    assert found is not None
    good = head_of(length=length) + END + b"body\r\n\r\n"
    measured = 0
    for at in range(len(good) + 1):
        for data in (good[:at], *(good[:at] + wedge + good[at + drop :] for wedge in WEDGES for drop in (0, 1))):
            end = data.find(END)
            sought = heads.find(data[:end]) if end > 0 else None
            expected = None if sought is None else (end + len(END), sought[1])
            assert found[0].measure(data) == found[0].measure(bytearray(data)) == expected
            measured += expected is not None
    assert measured > 300


@pytest.mark.parametrize(
    ("head", "state"),
    [
        (head_of("/nothing"), {}),
        (head_of("/plain", "DELETE"), {}),
        (head_of("/plain", "HEAD"), {}),
        (head_of("/ignoring"), {}),
        (head_of("/parts/one"), {}),
        (head_of(length=b"CONTENT-LENGTH: 5"), {}),
        (head_of(), {"request_body": None}),
        (head_of(), {"request_body": "chunked"}),
        (head_of(), {"expecting_continue": True}),
        (head_of(), {"upgrade_websocket": True}),
        (head_of("/plain", "POST", b"Content-Length: 5", b"X-A: " + b"a" * LARGEST), {}),
    ],
)
def test_others_are_not_remembered(app: Any, head: bytes, state: dict[str, Any]) -> None:
    heads = Heads(app)
    heads.note(read(app, head, **state))
    assert heads.find(head) is None


def test_a_handler_that_reads_its_body_itself_is_not_remembered(app: Any) -> None:
    route = next(route for route in app.router.routes if route.path == "streaming")
    assert hasattr(route.handler, "is_stream")
    heads = Heads(app)
    heads.note(read(app, head_of("/streaming")))
    assert heads.find(head_of("/streaming")) is None


def test_the_first_one_noted_is_the_first_to_go(app: Any) -> None:
    heads = Heads(app, most=3)
    said = [head_of(f"/plain?{number}") for number in range(5)]
    for head in (*said[:3], said[0], said[2]):
        heads.note(read(app, head))
    assert [heads.find(head) is not None for head in said] == [True, True, True, False, False]
    for head in said[3:]:
        heads.note(read(app, head))
    assert [heads.find(head) is not None for head in said] == [False, False, True, True, True]
    assert repr(heads) == "<Heads 3/3>"


def test_nothing_is_remembered_where_nothing_may_be(app: Any) -> None:
    heads = Heads(app, most=0)
    heads.note(read(app, head_of()))
    assert heads.find(head_of()) is None


RICH: Final = head_of(
    "/plain?a=1&a=2&b=%20x",
    "POST",
    b"Content-Length: 5",
    b"Authorization: Bearer " + SECRET.encode(),
    b"Cookie: one=1; two=2",
    b"Accept: application/json, text/*;q=0.5",
    b"Content-Type: application/json; charset=utf-8",
    b"X-Request-ID: mine",
    b"X-Forwarded-For: 192.0.2.1",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Host: api.example.org",
    b"X-A: 1",
    b"X-A: 2",
)


def test_what_is_held_of_a_head_is_not_shown(app: Any) -> None:
    heads = Heads(app)
    heads.note(read(app, RICH))
    assert SECRET not in repr(heads)
    assert SECRET not in repr(heads.find(RICH))


PARTS: Final = (b"", b"", b"")  # for what does not look for a head
# What is not of the head: they say what has become of the request, or are what the two differ in.
APART: Final = {"headers", "stream", "known", "asker"}


def said(request: Any, name: str) -> Any:
    try:
        return getattr(request, name)
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("body", [b'{"a":1}', b"a=1&b=2", b""])
@pytest.mark.parametrize("head", [RICH, head_of("/plain", "POST", b"Content-Length: 5", b"X-Request-ID: mine")])
def test_a_request_of_a_known_head_is_the_request_it_would_have_been(app: Any, head: bytes, body: bytes) -> None:
    http = read(app, head)
    fresh = http.request
    route, handler, _ = app.router.get(fresh.path, fresh.method, "localhost")
    fresh.route, fresh.body = route, body
    known = KnownRequest(KnownHead(http, fresh.asker, route, handler, PARTS), head, http, body)
    names = {name for name in dir(StrictRequest) if not name.startswith("__")} - APART
    names = {name for name in names if not callable(getattr(StrictRequest, name))}
    assert {"path", "args", "json", "form", "cookies", "token", "ctx", "id", "ip", "client_ip", "url"} <= names
    for name in sorted(names):  # each twice: what is found out is kept
        assert (name, said(known, name)) == (name, said(fresh, name))
        assert (name, said(known, name)) == (name, said(fresh, name))
    assert known.asker is fresh.asker
    assert sorted(sent_headers(known)) == sorted(fresh.headers.items()) == sorted(sent_headers(fresh))
    assert type(known.headers) is type(fresh.headers)
    assert repr(known).replace("KnownRequest", "StrictRequest") == repr(fresh)


def test_what_one_request_is_given_the_next_one_does_not_have(app: Any) -> None:
    http = read(app, RICH)
    route, handler, _ = app.router.get("/plain", "POST", "localhost")
    head = KnownHead(http, http.request.asker, route, handler, PARTS)
    one, two = KnownRequest(head, RICH, http, b""), KnownRequest(head, RICH, http, b"")
    one.ctx.user, one.body = "ann", b"x"
    one.get_args().clear()
    assert vars(two.ctx) == {}
    assert two.body == b""
    assert two.args["a"] == ["1", "2"]


def test_a_name_that_no_request_has_is_no_attribute(app: Any) -> None:
    http = read(app, head_of())
    known = KnownRequest(KnownHead(http, http.request.asker, None, None, PARTS), head_of(), http, b"")
    assert not hasattr(known, "nothing")
    assert not hasattr(known, "_remote_addr")
