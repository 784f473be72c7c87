"""What this process has in common with the other workers, and with other machines: keys, numbers, limits.

Rule: made from the settings and the process's place; alone and without REDIS_URL, nothing of it does anything.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from actors import Demand, Ref
from ccproxy_sanic.crew.siblings import Siblings
from ccproxy_sanic.frames import Place
from ccproxy_sanic.settings import Settings

if TYPE_CHECKING:
    from ccproxy_sanic.crew.quotas import Quotas, QuotaStatistics

Spawn = Callable[[Coroutine[Any, Any, Any], str], asyncio.Task[Any]]


class Crew:
    """``siblings`` are the other workers of this machine; ``inherited`` are the last numbers of the one that had this
    place before, as it told them."""

    def __init__(self, settings: Settings, place: Place, spawn: Spawn) -> None:
        self.siblings = Siblings(place, spawn)
        self.inherited = place.inherited
        self._settings, self._spawn = settings, spawn
        self._quotas: Quotas | None = None
        self._sharing: asyncio.Task[Any] | None = None

    def begin(self, limiter: Ref[Any], clock: Callable[[], float]) -> None:
        """Share the limits, where there is a server for that."""
        if self._settings.redis_url is None:
            return
        from ccproxy_sanic.crew.quotas import Quotas, Share  # and with it the client, which nobody else needs

        self._quotas = Quotas(
            self._settings.redis_url.reveal(),
            lambda: limiter.ask(Demand()),
            lambda note: limiter.tell(note, urgent=True),
            Share(self._settings.rate_limit_burst, self.siblings.place.count),
            clock,
        )
        self._sharing = self._spawn(self._quotas.run(), "ccproxy:quotas")

    async def end(self) -> None:
        self.siblings.leave()
        if self._quotas is not None and self._sharing is not None:
            self._quotas.stop()
            self._sharing.cancel()
            await asyncio.wait({self._sharing})
            await self._quotas.aclose()

    def quotas(self) -> QuotaStatistics | None:
        return None if self._quotas is None else self._quotas.statistics()


def carrier_key(settings: Settings, place: Place) -> bytes:
    """The key of the carriers: the one that is set, else one derived from the upstream's key, so that a restart costs
    no session its reasoning; without a key it is the workers' common one, new at each start."""
    if settings.carrier_key is not None:
        return settings.carrier_key.reveal().encode()
    routed = (key for upstream in (settings.routes.upstreams if settings.routes else ()) for key in upstream.keys)
    if (key := settings.upstream.api_key or next(routed, None)) is not None:
        return hmac.digest(key.reveal().encode(), b"ccproxy carrier", hashlib.sha256)
    return place.derived(b"carrier")
