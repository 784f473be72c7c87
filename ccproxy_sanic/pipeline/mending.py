"""Requests that an upstream refused in words that say what it takes, and what is remembered of that (protocol.md 5.6).

Rule: a repair changes what is sent, is made once for one request and target, and becomes a lesson when the upstream has
taken the request that it made.  A text that only sounds like a refusal (it may quote the client) thus teaches nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ccproxy_sanic.context import RequestContext
from ccproxy_sanic.errors import InvalidRequest, ProxyError
from ccproxy_sanic.pipeline.dialects import Call, prepare
from ccproxy_sanic.pipeline.house import House
from ccproxy_sanic.pipeline.work import Work
from ccproxy_sanic.routing import Step
from ccproxy_sanic.translate.second_try import MOST, Cure, cures, noted


class Mending:
    """The repairs of one request at the target that was asked last."""

    __slots__ = ("_cures", "_step")

    def __init__(self) -> None:
        self._cures: tuple[Cure, ...] = ()
        self._step: Step | None = None

    def repaired(self, house: House, ctx: RequestContext, work: Work, call: Call, fault: ProxyError) -> Call | None:
        """``call`` as its upstream would take it, by what ``fault`` says; None where nobody knows, or it was tried."""
        if self._step != call.lane.step:
            self._step, self._cures = call.lane.step, ()
        tried = {cure.kind for cure in self._cures}
        for cure in cures(fault, call.lane.api, call.lane.profile, forced=call.lane.target.api is not None):
            if len(tried) == MOST:
                return None
            if cure.kind in tried:
                continue
            now = (*self._cures, cure)
            mended = _prepared(house, ctx, work, call.lane.step, _merged(now))
            if mended is not None and (mended.body != call.body or mended.lane.api != call.lane.api):
                self._cures = now
                mended.adjustments += noted(now)
                return mended
        return None

    def taken(self, house: House, call: Call) -> None:
        """The upstream takes ``call``: what was repaired in it is remembered, unless it was about this request only."""
        if self._step == call.lane.step:
            for cure in self._cures:
                if cure.lasts:
                    house.learn(call.lane.target, call.lane.step.model, cure.kind, cure.switches)


def _merged(found: tuple[Cure, ...]) -> Mapping[str, Any]:
    return {name: value for cure in found for name, value in cure.switches.items()}


def _prepared(house: House, ctx: RequestContext, work: Work, step: Step, switches: Mapping[str, Any]) -> Call | None:
    try:
        return prepare(house, ctx, work, step, switches)
    except InvalidRequest:  # with these switches the upstream can't take it at all
        return None
