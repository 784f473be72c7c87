"""Which profile an upstream gets, and one look at those that nobody knows: a server that somebody runs names itself.

Rule: the look changes nothing for anybody.  It is short, it never fails and no request waits for it; until something
is known, and where nothing gets known, the profile is ``generic``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from ccproxy_sanic.errors import ProxyError
from ccproxy_sanic.profiles import GENERIC, Catalog, Profile, recognise, resolve
from ccproxy_sanic.upstream.engine import EngineTransport
from ccproxy_sanic.upstream.exchange import Closer, open_exchange
from ccproxy_sanic.upstream.target import Target

log = logging.getLogger("ccproxy")
PATIENCE: Final = 3.0  # seconds for all of it
MAX_LIST: Final = 1024 * 1024  # bytes of a list of models that are read

# from the chat URL: the list of models, and the root, where Ollama says its name
PLACES: Final = ("../models", "/")


class Profiles:
    """The profiles of all upstreams.  ``forced`` is CCPROXY_PROFILE; ``named`` are those whose servers said who they
    are, by target.  Raises CatalogError where there is no profile ``forced``."""

    def __init__(self, catalog: Catalog, forced: str | None) -> None:
        if forced is not None:
            catalog.build(forced)
        self.catalog, self.forced = catalog, forced
        self.named: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Profiles forced {self.forced}, named {self.named}>"

    def of(self, target: Target, model: str) -> Profile:
        """The profile for ``model`` at ``target``."""
        return resolve(target.base_url, model, self.forced or self.named.get(target.name), self.catalog)

    def is_unsure(self, target: Target) -> bool:
        """Whether only a look can tell: nothing is forced, and no profile claims the host."""
        return self.forced is None and self.catalog.at(target.base_url) is None

    async def look(self, transport: EngineTransport, target: Target, closer: Closer) -> None:
        """Ask the server who it is; says in one log line what came of it.  Cancelled, it leaves nothing behind."""
        name: str | None = None
        with contextlib.suppress(ProxyError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                for place in PLACES:
                    if (name := await _ask(transport, target, place, closer)) is not None:
                        break
        if name is None:
            log.info("upstream %s does not say which server it is: profile %s", target.name, GENERIC)
            return
        self.named[target.name] = name
        log.info("upstream %s says which server it is: profile %s", target.name, name)


async def _ask(transport: EngineTransport, target: Target, place: str, closer: Closer) -> str | None:
    # the root may be somebody else's: it gets no key
    headers = [field for field in target.headers if place != "/" or field[0] != b"authorization"]
    exchange = await open_exchange(
        transport,
        "GET",
        target.url.join(place),
        headers,
        b"",
        target.deadlines,
        provider=target.name,
        closer=closer,
    )
    try:
        return recognise(exchange.headers, await exchange.read(MAX_LIST))
    finally:
        exchange.abort()  # nothing to do where it was read to its end
