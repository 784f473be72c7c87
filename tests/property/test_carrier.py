"""Carriers: what we signed comes back, nothing else does, and nothing raises (protocol.md 2.3)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.translate.carrier import MAX_BYTES, Carrier, sign, unsign

KEY = b"k" * 32
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def forge(plain: bytes, key: bytes = KEY) -> str:
    """A signature over any content, made without the code under test."""
    packed = zlib.compress(plain)
    mac = hmac.new(key, packed, hashlib.sha256).digest()[:16]
    return "ppx1." + base64.urlsafe_b64encode(mac + packed).decode()


@given(st.text(), st.text(), st.sampled_from(["plain", "or", "oai", "gem"]), values)
def test_what_goes_in_comes_out(provider: str, model: str, kind: str, data: Any) -> None:
    signature = sign(KEY, provider, model, kind, data)
    assert signature.startswith("ppx1.")
    assert unsign(KEY, signature) == Carrier(provider, model, kind, data)


def test_the_format_is_the_documented_one() -> None:
    signature = sign(KEY, "deepseek", "m", "plain", "")
    raw = base64.urlsafe_b64decode(signature.removeprefix("ppx1.") + "==")
    assert json.loads(zlib.decompress(raw[16:])) == {"p": "deepseek", "m": "m", "k": "plain", "d": ""}
    assert raw[:16] == hmac.new(KEY, raw[16:], hashlib.sha256).digest()[:16]
    assert unsign(KEY, forge(b'{"p":"a","m":"b","k":"or","d":[1]}')) == Carrier("a", "b", "or", [1])


@given(values, st.integers(0, 10_000), st.integers(1, 255))
def test_one_changed_byte_is_a_forgery(data: Any, at: int, change: int) -> None:
    signature = sign(KEY, "p", "m", "or", data)
    raw = bytearray(base64.urlsafe_b64decode(signature.removeprefix("ppx1.") + "=="))
    raw[at % len(raw)] ^= change
    assert unsign(KEY, "ppx1." + base64.urlsafe_b64encode(bytes(raw)).decode()) is None


@given(values)
def test_another_key_is_a_forgery(data: Any) -> None:
    assert unsign(b"other", sign(KEY, "p", "m", "or", data)) is None


@given(
    st.text() | st.text().map("ppx1.".__add__) | st.binary().map(lambda raw: "ppx1." + base64.b64encode(raw).decode())
)
def test_nothing_foreign_raises(signature: str) -> None:
    assert unsign(KEY, signature) is None


@pytest.mark.parametrize(
    "plain",
    [b"", b"[]", b"null", b"{}", b'{"p":1,"m":"b","k":"c"}', b"\xff", b"[" * 100_000, b'{"p":"a","m":"b"'],
)
def test_signed_nonsense_is_nothing(plain: bytes) -> None:
    assert unsign(KEY, forge(plain)) is None


def test_signed_bytes_that_are_no_zlib_are_nothing() -> None:
    packed = b"not zlib"
    mac = hmac.new(KEY, packed, hashlib.sha256).digest()[:16]
    assert unsign(KEY, "ppx1." + base64.urlsafe_b64encode(mac + packed).decode()) is None


def test_a_bomb_is_not_inflated() -> None:
    bomb = forge(b'{"p":"a","m":"b","k":"c","d":"' + b"x" * (4 * MAX_BYTES) + b'"}')
    assert len(bomb) < MAX_BYTES
    assert unsign(KEY, bomb) is None


def test_a_signature_over_the_cap_is_refused() -> None:
    assert unsign(KEY, "ppx1." + "A" * MAX_BYTES) is None


def test_what_is_too_large_leaves_a_signature_without_its_data() -> None:
    signature = sign(KEY, "p", "m", "or", "x" * (MAX_BYTES + 1))
    assert unsign(KEY, signature) == Carrier("p", "m", "plain", "")


@pytest.mark.parametrize("data", ["\ud800", pytest.param(None, id="endless")])
def test_what_can_not_be_written_leaves_a_signature_without_its_data(data: Any) -> None:
    if data is None:
        deep: list[Any] = []
        data = deep
        for _ in range(100_000):
            deep.append([])
            deep = deep[0]
    assert unsign(KEY, sign(KEY, "p", "m", "or", data)) == Carrier("p", "m", "plain", "")
