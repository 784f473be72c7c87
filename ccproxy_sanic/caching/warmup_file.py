"""The files of warm-up requests: what an operator writes, and what is saved of popular requests (docs/cache.md).

Rule: requests only, never answers.  An item that can't be used is named and left out; the others are used.

A file is a JSON list.  An item is a body of the Messages API, or ``{"request": BODY, "caller": ..., "headers": {...},
"query": ...}``, which is how popular requests are saved: BODY is then byte for byte what the client sent.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from ccproxy_sanic.errors import InvalidRequest
from ccproxy_sanic.pipeline.keeping import Origin
from ccproxy_sanic.wire import anthropic

LARGEST: Final = 64 << 20  # bytes of a file that is read
OWN: Final = 0o600  # it holds prompts
# what a decoder says of bytes that are none of its own, text that is no UTF-8, and too many brackets
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# what an item of the original's form may leave out
MODEL: Final = "claude-3-opus-20240229"
MAX_TOKENS: Final = 100


class Found(NamedTuple):
    """``faults`` and ``notes`` are for a person."""

    items: list[Origin]
    faults: list[str]
    notes: list[str]


class _Wrapped(msgspec.Struct):
    request: msgspec.Raw = msgspec.Raw()


def popular_path(path: Path) -> Path:
    """Where popular requests are saved: beside the operator's file."""
    return path.with_name(f"{path.stem}.popular{path.suffix or '.json'}")


def read(path: Path, most: int) -> Found:
    """At most ``most`` items.  Never raises; a file that is not there has none, and that is no fault."""
    try:
        if path.stat().st_size > LARGEST:
            return Found([], [f"it is larger than {LARGEST >> 20} MiB"], [])
        listed = msgspec.json.decode(path.read_bytes(), type=list[msgspec.Raw])
    except FileNotFoundError:
        return Found([], [], [])
    except (OSError, *UNREADABLE) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "it is no JSON list"
        return Found([], [str(reason)], [])
    items: list[Origin] = []
    faults: list[str] = []
    answers = 0
    for number, raw in enumerate(listed, 1):
        if len(items) >= most:
            return Found(items, faults, [*_notes(answers), f"only the first {most} of {len(listed)} are taken"])
        try:
            item, answered = _item(raw)
            items.append(item)
            answers += answered
        except InvalidRequest as fault:
            faults.append(f"item {number}: {fault.message}")
        except UNREADABLE:
            faults.append(f"item {number}: it is no request")
    return Found(items, faults, _notes(answers))


def _notes(answers: int) -> list[str]:
    return [f"{answers} items bring an answer, which is not used: the upstream is asked"] if answers else []


def _item(raw: msgspec.Raw) -> tuple[Origin, bool]:
    """The item, and whether it brings an answer."""
    wrapped = bytes(msgspec.json.decode(raw, type=_Wrapped).request)
    item = msgspec.json.decode(raw, type=Origin) if wrapped else Origin(raw)
    body, answered = _body(item.body)
    anthropic.decode_request(body)
    return msgspec.structs.replace(item, request=msgspec.Raw(body)), answered


def _body(raw: bytes) -> tuple[bytes, bool]:
    """The request as it is sent: as it stands, but for what the original's form leaves out or adds."""
    fields = msgspec.json.decode(raw, type=dict[str, Any])
    wanted = {"model": MODEL, "max_tokens": MAX_TOKENS, **fields}
    answered = wanted.pop("response", None) is not None
    wanted.pop("stream", None)  # streams are not kept
    return (raw if wanted == fields else msgspec.json.encode(wanted)), answered


def write(path: Path, items: Sequence[Origin]) -> None:
    """Replace the file as a whole; only its owner may read it.  Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    lines: Iterable[bytes] = (msgspec.json.encode(item) for item in items)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWN), "wb") as file:
        os.fchmod(file.fileno(), OWN)  # also one that was there
        file.write(b"[\n" + b",\n".join(lines) + b"\n]\n")
    new.replace(path)
