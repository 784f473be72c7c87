"""What the answer must know about its request.  Rule: the translation of an answer asks nobody for anything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Literal

import msgspec


class ReplySpec(msgspec.Struct):
    message_id: str
    model: str  # the name the client asked for
    request_id: str
    new_tool_id: Callable[[], str]  # makes "toolu_..."
    sign: Callable[[str, object], str]  # (kind, data) -> the signature of a thinking block, never empty (carrier.py)
    tools: frozenset[str] = frozenset()  # declared names, as the upstream knows them
    names: Mapping[str, str] = {}  # the upstream's (shortened) name -> the client's
    used_tool_ids: Set[str] = frozenset()  # of tool_use blocks in the request's history
    stop_sequences: tuple[str, ...] = ()  # all that the client gave
    enforce_stops: tuple[str, ...] = ()  # those the proxy itself must enforce
    thinking: Literal["show", "omit", "drop"] = "show"  # omit: an empty thinking block with its signature
    think_tags: bool = False  # <think>..</think> at the start of content is reasoning
    opened: bool = False  # message_start has left already, for an upstream that failed before its first content
    lenient_eof: bool = False  # the upstream never says that it has finished
