"""Who has our port.

Rule: a guess, made quickly and never wrong about itself: it says "probably".
"""

from __future__ import annotations

import http.client
from typing import Final, NamedTuple

import msgspec

PATIENCE: Final = 0.5  # seconds for a connection, and for an answer
_OLLAMA_PORT: Final = 11_434
_LOCAL: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (where to ask when we wanted all)


class Neighbour(NamedTuple):
    """``by`` ends the sentence "the address is taken ..."; ``base_url`` is set where it could be our upstream."""

    by: str
    base_url: str | None = None


def ask(host: str, port: int) -> Neighbour:
    """Who answers on an address that is taken; at most a second."""
    local = _LOCAL.get(host, host)
    try:
        connection = http.client.HTTPConnection(local, port, timeout=PATIENCE)
        try:
            connection.request("GET", "/", headers={"connection": "close"})
            answer = connection.getresponse()
            return _recognise(answer.getheader("server") or "", answer.read(1_000), f"http://{local}:{port}/v1")
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError):
        hint = " (11434 is Ollama's default port)" if port == _OLLAMA_PORT else ""
        return Neighbour(f"by a program that does not speak HTTP{hint}")


def _recognise(server: str, body: bytes, base_url: str) -> Neighbour:
    if b"Ollama is running" in body:
        return Neighbour("probably by Ollama, whose default port is 11434", base_url)
    try:
        status = msgspec.json.decode(body, type=dict[str, object])
    except msgspec.DecodeError:
        status = {}
    if status.get("status") == "ok" and "timestamp" in status:
        return Neighbour("probably by another ccproxy that is already serving")
    name = "".join(character for character in server[:40] if character.isprintable()).strip()
    return Neighbour(f"by another web server{f' ({name})' if name else ''}")
