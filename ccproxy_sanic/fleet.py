"""Which upstreams there are: settings and routes become targets, endpoints and the rules that lead to them.

Rule: pure, and made anew as a whole by every reload of the routes; only the transports stay, and are handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from actors import BreakerRules, Endpoint, Limits, UpstreamLimits
from ccproxy_sanic.pipeline import Upstreams
from ccproxy_sanic.routing.file import UpstreamSpec
from ccproxy_sanic.settings import Settings
from ccproxy_sanic.settings_network import Reach
from ccproxy_sanic.upstream.engine import EngineTransport
from ccproxy_sanic.upstream.exchange import Deadlines
from ccproxy_sanic.upstream.target import Target

_DEMO: Final = "demo"  # the profile of the embedded upstream


TransportOf = Callable[[Reach], EngineTransport]


class Fleet(NamedTuple):
    """``remarks`` name the upstreams that are not reached plainly."""

    upstreams: Upstreams
    endpoints: tuple[Endpoint, ...]
    remarks: list[str]

    def part(self, share: Callable[[int], int]) -> Fleet:
        """What one of several workers may use of it."""
        return self._replace(
            endpoints=tuple(
                endpoint if endpoint.slots is None else msgspec.structs.replace(endpoint, slots=share(endpoint.slots))
                for endpoint in self.endpoints
            )
        )


def fleet_of(settings: Settings, hop: str, base_url: str, transport_of: TransportOf) -> Fleet:
    """``base_url`` is that of the environment's upstream; ``hop`` marks the proxy's own requests."""
    routing = settings.routing
    specs = settings.routes.upstreams if settings.routes is not None else ()
    targets = [_target(spec, settings, hop, transport_of) for spec in specs]
    breaker = BreakerRules(
        settings.circuit_breaker_failure_threshold,
        settings.circuit_breaker_recovery_timeout,
        settings.circuit_breaker_half_open_requests,
    )
    endpoints = [Endpoint(spec.name, slots=spec.slots, keys=max(1, len(spec.keys)), breaker=breaker) for spec in specs]
    if routing.default is not None:
        targets.append(_environments(settings, routing.default, base_url, hop, transport_of))
        endpoints.append(Endpoint(routing.default, slots=settings.upstream_slots, breaker=breaker))
    remarks = settings.network.remarks(settings.base_urls)
    return Fleet(Upstreams(routing, {target.name: target for target in targets}), tuple(endpoints), remarks)


def limits_of(settings: Settings, processes: int) -> Limits:
    """The limits of callers and upstreams, which ``processes`` share."""
    return Limits(
        requests_per_minute=settings.rate_limit_per_minute,
        burst=settings.rate_limit_burst,
        concurrent=settings.max_concurrent,
        upstream=UpstreamLimits(
            requests=settings.client_rate_limit_rpm,
            tokens=settings.client_rate_limit_tpm,
            burst=settings.client_rate_limit_burst,
            enabled=settings.client_rate_limit_enabled is not False,
            adaptive=settings.client_rate_limit_adaptive,
        ),
        processes=processes,
    )


def _environments(settings: Settings, name: str, base_url: str, hop: str, transport_of: TransportOf) -> Target:
    upstream, network = settings.upstream, settings.network
    return Target(
        name,
        base_url,
        transport=transport_of(network.plain if upstream.demo else network.reach(base_url)),
        keys=(upstream.api_key.reveal(),) if upstream.api_key else (),
        hop=hop,
        deadlines=Deadlines(
            connect=settings.connect_timeout, first_byte=settings.first_byte_timeout, idle=settings.idle_timeout
        ),
        profile=_DEMO if upstream.demo else settings.profile,
        api=settings.api,
    )


def _target(spec: UpstreamSpec, settings: Settings, hop: str, transport_of: TransportOf) -> Target:
    return Target(
        spec.name,
        spec.base_url,
        transport=transport_of(settings.network.reach(spec.base_url)),
        keys=tuple(key.reveal() for key in spec.keys),
        hop=hop,
        deadlines=Deadlines(
            connect=spec.connect_timeout or settings.connect_timeout,
            first_byte=spec.first_byte_timeout or settings.first_byte_timeout,
            idle=spec.idle_timeout or settings.idle_timeout,
        ),
        extra_headers=spec.headers,
        profile=spec.profile,
        api=spec.api,
    )
