"""``GET /v1/models`` and ``/v1/models/{id}``: the names that this proxy answers to (protocol.md 7).

Rule: the upstream is not asked; what is listed is what the settings say, under names that Claude Code's discovery takes
(it keeps ids with ``claude`` or ``anthropic``), and every name that routing accepts has an entry.
One object serves both worlds: Anthropic's fields, and the four that clients of OpenAI's API read.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

from sanic import HTTPResponse, Request

from ccproxy_sanic import errors
from ccproxy_sanic.handlers import answer
from ccproxy_sanic.profiles import Profile
from ccproxy_sanic.routing import Facts, Routing, upstream_model
from ccproxy_sanic.runtime import Runtime

ALIASES: Final = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")  # one for each tier of routing.TIERS
LINES: Final = ("haiku", "sonnet", "opus", "fable", "mythos")
LEVELS: Final = ("low", "medium", "high", "xhigh", "max")
UNKNOWN_DATE: Final = "1970-01-01T00:00:00Z"
PAGE: Final = 20
LARGEST_PAGE: Final = 1000


async def page(request: Request) -> HTTPResponse:
    """One page of the list.  Raises Unauthenticated, Forbidden, InvalidRequest."""
    runtime = _admitted(request)
    ids, has_more = cut(
        listed(runtime.house.upstreams.routing) if _wants_active(request) else [],
        limit=_limit(request.args.get("limit")),
        after=request.args.get("after_id"),
        before=request.args.get("before_id"),
    )
    return answer.json(
        {
            "object": "list",
            "data": [_info(runtime, name) for name in ids],
            "has_more": has_more,
            "first_id": ids[0] if ids else None,
            "last_id": ids[-1] if ids else None,
        }
    )


async def one(request: Request, model_id: str) -> HTTPResponse:
    """The entry of any name that routing accepts, which is every name; of none, the list.  Raises Unauthenticated,
    Forbidden, InvalidRequest."""
    if not model_id:  # "/v1/models/"
        return await page(request)
    return answer.json(_info(_admitted(request), unquote(model_id)))


def _admitted(request: Request) -> Runtime:
    runtime: Runtime = request.app.ctx.runtime
    runtime.identify(request.headers)
    return runtime


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE
    if not text.isascii() or not text.isdigit():
        raise errors.InvalidRequest("limit: Input should be a valid integer")
    limit = int(text[:10])
    if not 1 <= limit <= LARGEST_PAGE:
        raise errors.InvalidRequest(f"limit: Input should be from 1 to {LARGEST_PAGE}")
    return limit


def _wants_active(request: Request) -> bool:
    """All that is listed is active: a filter that leaves this out leaves nothing."""
    asked = [*request.args.getlist("lifecycle[]", []), *request.args.getlist("lifecycle", [])]
    return not asked or "active" in asked


def listed(routing: Routing) -> list[str]:
    """The names to choose from: routes that are set, one alias for each tier, and the upstream's own names where
    these lead to themselves."""
    models = routing.models
    own = (models.big, models.small, *models.exact.values()) if routing.default is not None else ()
    exact = models.exact if routing.default is not None else ()
    names = (*routing.listed(), *exact, *ALIASES, *(name for name in own if upstream_model(name, models) == name))
    return list(dict.fromkeys(names))


def cut(names: list[str], limit: int, after: str | None, before: str | None) -> tuple[list[str], bool]:
    """A page, and whether there is more in its direction.  Next to a name that is not there, there is nothing."""
    if after is not None:
        names = names[names.index(after) + 1 :] if after in names else []
    if before is not None:
        names = names[: names.index(before)] if before in names else []
        return names[-limit:], len(names) > limit
    return names[:limit], len(names) > limit


def _info(runtime: Runtime, name: str) -> dict[str, Any]:
    house = runtime.house
    routing, targets = house.upstreams.routing, house.upstreams.targets
    step = routing.plan(Facts(name), session="", pick=0.0).steps[0]
    upstream = step.model
    profile = house.profile_of(targets[step.upstream], upstream)
    lowered = name.lower()
    return {
        "type": "model",
        "id": name,
        "display_name": name if name == upstream else f"{upstream} as {name}",
        "created_at": UNKNOWN_DATE,
        "lifecycle": "active",
        "line": next((line for line in LINES if line in lowered), None),
        "max_input_tokens": profile.max_input,
        "max_tokens": profile.max_output,
        "deprecated_at": None,
        "retires_at": None,
        "capabilities": capabilities(profile),
        "object": "model",
        "created": 0,
        "owned_by": step.upstream,
    }


def capabilities(profile: Profile) -> dict[str, Any]:
    """What a model can do here, in Anthropic's words: behind this profile, and with what the proxy itself lacks."""
    thinks = bool(profile.effort) or profile.reasoning_in != "none" or profile.think_tags
    nothing = _can(False)
    return {
        "batch": nothing,
        "citations": nothing,
        "code_execution": nothing,
        "context_management": {
            **nothing,
            "clear_thinking_20251015": nothing,
            "clear_tool_uses_20250919": nothing,
            "compact_20260112": nothing,
        },
        "effort": {**_can(bool(profile.effort)), **{level: _can(level in profile.effort) for level in LEVELS}},
        "image_input": _can(profile.vision and profile.parts),
        "pdf_input": _can(profile.pdf and profile.parts),
        "server_tools": {**nothing, "code_execution": nothing, "web_search": nothing},
        "structured_outputs": _can(profile.json_schema == "schema"),
        "thinking": {
            **_can(thinks),
            # a model that can't think is still never refused for being told how
            "types": {
                "adaptive": _can(thinks),
                "enabled": _can(thinks),
                "disabled": _can(True),
                "between_tools": _can(True),
            },
        },
    }


def _can(supported: bool) -> dict[str, bool]:
    return {"supported": supported}
