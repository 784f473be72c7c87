"""What the last request looked like when it arrived, for tests of what a proxy passes on.

Rule: no credential is kept, only its digest.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import h11
import msgspec

SECRET: Final = frozenset({b"authorization", b"proxy-authorization", b"x-api-key", b"api-key", b"cookie"})


class Record(msgspec.Struct, frozen=True):
    """``headers`` in their order and with their names as sent; digests are hexadecimal SHA-256."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body_sha256: str
    model: str | None


def record(head: h11.Request, body: bytes | None) -> Record:
    path, _, query = head.target.decode("latin-1").partition("?")
    raw = [(name, _shown(name.lower(), value)) for name, value in head.headers.raw_items()]
    headers = [(name.decode("latin-1"), value) for name, value in raw]
    return Record(head.method.decode(), path, query, headers, _digest(body or b""), _model(body or b""))


def _shown(name: bytes, value: bytes) -> str:
    return f"sha256:{_digest(value)}" if name in SECRET else value.decode("latin-1")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _model(body: bytes) -> str | None:
    try:
        given: Any = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    model = given.get("model") if isinstance(given, dict) else None
    return model if isinstance(model, str) else None
