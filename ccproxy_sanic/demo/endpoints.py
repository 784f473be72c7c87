"""The APIs the demo speaks: what each path decodes, how it answers, how it refuses.

Rule: all of them ask the same scenarios; an API is a row of :data:`ENDPOINTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from ccproxy_sanic.demo import render, render_messages, render_responses, request_messages, request_responses
from ccproxy_sanic.demo import request as request_chat
from ccproxy_sanic.demo.faults import Fault
from ccproxy_sanic.demo.pieces import cut
from ccproxy_sanic.demo.playing import Step, play, reply
from ccproxy_sanic.demo.request import Asked, prompt_tokens
from ccproxy_sanic.demo.scenarios import Memory, choose

BODY_LIMIT: Final = 64 * 1024 * 1024
PREFIX: Final = "/v1"
Headers = Mapping[str, str]  # names in lower case


class Endpoint(msgspec.Struct, frozen=True):
    """``rendering`` is None where tokens are only counted."""

    about: str
    decode: Callable[[bytes, Headers], Asked]
    refuse: Callable[[Fault, bytes | None], list[Step]]
    rendering: Callable[..., Any] | None = None


def _chat(body: bytes, headers: Headers) -> Asked:
    return Asked(request_chat.decode(body))


def _responses(body: bytes, headers: Headers) -> Asked:
    return request_responses.decode(body)


def _counted(body: bytes, headers: Headers) -> Asked:
    return request_messages.decode(body, headers, counting=True)


ENDPOINTS: Final = {
    f"{PREFIX}/chat/completions": Endpoint("OpenAI Chat Completions", _chat, render.refuse, render.ChatRendering),
    f"{PREFIX}/responses": Endpoint(
        "OpenAI Responses", _responses, render_responses.refuse, render_responses.ResponsesRendering
    ),
    f"{PREFIX}/messages": Endpoint(
        "Anthropic Messages", request_messages.decode, render_messages.refuse, render_messages.MessagesRendering
    ),
    f"{PREFIX}/messages/count_tokens": Endpoint("its token counts", _counted, render_messages.refuse),
}


def exchange(
    path: str, method: str, headers: Headers, body: bytes | None, memory: Memory, pace: float
) -> tuple[Iterable[Step], int]:
    """The steps of an answer to a request to one of the endpoints, and how much known reasoning came with it.

    ``body`` None: it was over :data:`BODY_LIMIT`.  ``pace`` is the server's own, in seconds.
    """
    endpoint = ENDPOINTS[path]
    try:
        if method != "POST":
            raise Fault(405, f"Not allowed to {method} on {path}.", headers={"allow": "POST"})
        if body is None:
            raise Fault(413, f"The request is larger than {BODY_LIMIT} bytes.")
        asked = endpoint.decode(body, headers)
        request = asked.request
        if endpoint.rendering is None:
            counted = msgspec.json.encode({"input_tokens": prompt_tokens(body)})
            return reply(200, counted, render_messages.headers(body)), 0
        plan = choose(request, body, memory)
        if asked.quiet:
            plan.reasoning = ""
        rendering = endpoint.rendering(asked, body, plan, cut(plan, request, body))
        return play(plan, bool(request.stream), pace, rendering), asked.returned
    except Fault as fault:
        return endpoint.refuse(fault, body), 0
